package find

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// TestCallersOwnRightsCount: the caller's own rights count, for every request and for every look
// into the location cache.
func TestCallersOwnRightsCount(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	root := s.Publish()
	for _, name := range []string{"org/app", "org/app/web", "org/app/a", "org/app/a/b"} {
		s.Registry.Allow("all", "all-secret", name)
	}
	if got := s.Do(http.MethodHead, "/v2/org/app/manifests/v1"); got.Status != http.StatusUnauthorized || got.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without credentials: %+v", got)
	}
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v1")

	s.Registry.Allow("nobody", "no-secret")
	s.User = [2]string{"nobody", "no-secret"}
	s.Get("blobs", root.Digest) // the token is there, from now on
	var seen []string
	for _, d := range []digest.Digest{root.Digest, digest.FromString("missing")} {
		s.Registry.ResetLog()
		got := s.Get("blobs", d)
		if got.Status != http.StatusForbidden {
			t.Errorf("%+v", got)
		}
		for _, q := range s.Registry.Log() {
			got.Body += "\n" + s.Line(q)
		}
		seen = append(seen, got.Body)
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], "GET org/app blob") {
		t.Errorf("existing and missing content differ:\n%s\n%s", seen[0], seen[1])
	}
	s.User = [2]string{"all", "wrong"}
	if got := s.Get("manifests", root.Digest); got.Status != http.StatusUnauthorized {
		t.Errorf("with a wrong password: %+v", got)
	}
}

// TestIdentityTokenGoesToTheTokenEndpoint: a caller whose user is <token> shows an identity token,
// which is for the token endpoint, for the parent and for the members.
func TestIdentityTokenGoesToTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	s.Publish()
	s.Registry.AllowIdentityToken("refresh", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.User = [2]string{"<token>", "refresh"}
	s.Pull("v1")
	s.User = [2]string{"<token>", "another"}
	if got := s.Do(http.MethodHead, "/v2/org/app/manifests/v1"); got.Status != http.StatusUnauthorized {
		t.Errorf("with another: %+v", got)
	}
	for _, q := range s.Registry.Log(registrytest.Of(registrytest.KindToken), registrytest.WithCredentials) {
		t.Errorf("an identity token is no password: %s", q)
	}
}

// TestStrangersGetNoMoreThanFromTheRegistry: when one pod's pull has made the gateway know all of a
// bundle, callers without a credential, with one for nothing or for the parent
// alone still get no more than the registry gives them itself.
func TestStrangersGetNoMoreThanFromTheRegistry(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	root := s.Publish()
	s.Registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.Registry.Allow("nobody", "no-secret")
	s.Registry.Allow("parent", "parent-secret", "org/app")
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v1")
	for _, user := range [][2]string{{}, {"nobody", "no-secret"}, {"all", "wrong"}, {"all"}, {"<token>", "all-secret"}, {"parent", "parent-secret"}} {
		s.User = user
		for _, path := range s.pathsOf(root) {
			may := user[0] == "parent" && slices.Contains([]string{"manifests/v1", "manifests/" + string(root.Digest), "referrers/" + string(root.Digest)}, path)
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				if got := s.Do(method, "/v2/org/app/"+path); (got.Status == http.StatusOK) != may {
					t.Errorf("%s: %s %s: %d %s", user[0], method, path, got.Status, got.Body)
				}
			}
		}
	}
}

// pathsOf are the paths at which all content of a bundle might be asked for.
func (s *scene) pathsOf(root ocispec.Descriptor) []string {
	s.T.Helper()
	paths := []string{"manifests/v1"}
	var add func(d ocispec.Descriptor)
	add = func(d ocispec.Descriptor) {
		paths = append(paths, "manifests/"+string(d.Digest), "blobs/"+string(d.Digest), "referrers/"+string(d.Digest))
		var manifest struct {
			Manifests, Layers []ocispec.Descriptor
			Config            ocispec.Descriptor
		}
		if strings.Contains(d.MediaType, ".image.index") || strings.Contains(d.MediaType, ".image.manifest") {
			if err := json.Unmarshal([]byte(s.Get("manifests", d.Digest).Body), &manifest); err != nil {
				s.T.Fatal(err)
			}
		}
		for _, child := range append(manifest.Manifests, manifest.Layers...) {
			add(child)
		}
		if manifest.Config.Digest != "" {
			add(manifest.Config)
		}
	}
	user := s.User
	s.User = [2]string{"all", "all-secret"}
	add(root)
	s.User = user
	return paths
}

// TestMembersGiveNoRights: what a member's repository shows a caller, under the tag that stands for what refers to it too,
// says nothing of the rights on the parent: a right that the registry takes away ends a minute after the parent itself
// has last shown something.
func TestMembersGiveNoRights(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	root := s.Publish()
	s.Registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v1")
	member := s.Children(s.Get("manifests", root.Digest).Body)[0]
	signature := s.Registry.Referrer("org/app/web", member, "application/vnd.test")
	tag := strings.ReplaceAll(member.Digest.String(), ":", "-")
	s.Registry.Tag("org/app/web", tag, s.Registry.Index("org/app/web", signature).Digest)

	parent, err := auth.ParseRepository(s.Registry.Host() + "/org/app")
	if err != nil {
		t.Fatal(err)
	}
	rights, mine := &s.Server.Config.Handler.(*front).rights, tenant{parent, callers.Caller{Username: "all", Password: "all-secret"}}
	before := time.Now().Add(-rightsTime / 2)
	shown := func(set time.Time) time.Time {
		last, _ := rights.shown.Get(mine)
		rights.shown.Put(mine, set, rightsTime)
		return last
	}
	if shown(before).IsZero() {
		t.Fatal("the pull gave no right")
	}
	for _, path := range []string{"manifests/" + tag, "manifests/" + member.Digest.String(), "referrers/" + member.Digest.String()} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if got := s.Do(method, "/v2/org/app/"+path); got.Status != http.StatusOK {
				t.Errorf("%s %s: %+v", method, path, got)
			}
			if now := shown(before); !now.Equal(before) {
				t.Errorf("%s %s: the right on the parent lasts %s longer", method, path, now.Sub(before))
			}
		}
	}
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != http.StatusOK || !shown(before).After(before) {
		t.Errorf("the parent's own tag gives no right: %+v", got)
	}
}
