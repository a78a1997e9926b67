package gateway

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
)

// TestCallersOwnRightsCount: the caller's own rights count, for every request and for every look
// into the location cache.
func TestCallersOwnRightsCount(t *testing.T) {
	s := newScene(t, Pod)
	root := s.publish()
	for _, name := range []string{"org/app", "org/app/web", "org/app/a", "org/app/a/b"} {
		s.registry.Allow("all", "all-secret", name)
	}
	if got := s.do(http.MethodHead, "/v2/org/app/manifests/v1"); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("without credentials: %+v", got)
	}
	s.user = [2]string{"all", "all-secret"}
	s.pull("v1")

	s.registry.Allow("nobody", "no-secret")
	s.user = [2]string{"nobody", "no-secret"}
	s.get("blobs", root.Digest) // the token is there, from now on
	var seen []string
	for _, d := range []digest.Digest{root.Digest, digest.FromString("missing")} {
		s.registry.ResetLog()
		got := s.get("blobs", d)
		if got.status != http.StatusForbidden {
			t.Errorf("%+v", got)
		}
		for _, q := range s.registry.Log() {
			got.body += "\n" + s.line(q)
		}
		seen = append(seen, got.body)
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], "GET org/app blob") {
		t.Errorf("existing and missing content differ:\n%s\n%s", seen[0], seen[1])
	}
	s.user = [2]string{"all", "wrong"}
	if got := s.get("manifests", root.Digest); got.status != http.StatusUnauthorized {
		t.Errorf("with a wrong password: %+v", got)
	}
}

// TestIdentityTokenGoesToTheTokenEndpoint: a caller whose user is <token> shows an identity token,
// which is for the token endpoint, for the parent and for the members.
func TestIdentityTokenGoesToTheTokenEndpoint(t *testing.T) {
	s := newScene(t, Pod)
	s.publish()
	s.registry.AllowIdentityToken("refresh", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.user = [2]string{"<token>", "refresh"}
	s.pull("v1")
	s.user = [2]string{"<token>", "another"}
	if got := s.do(http.MethodHead, "/v2/org/app/manifests/v1"); got.status != http.StatusUnauthorized {
		t.Errorf("with another: %+v", got)
	}
	for _, q := range s.registry.Log(registrytest.Of(registrytest.KindToken), registrytest.WithCredentials) {
		t.Errorf("an identity token is no password: %s", q)
	}
}

// TestStrangersGetNoMoreThanFromTheRegistry: when one pod's pull has made the gateway know all of a
// bundle, callers without a credential, with one for nothing or for the parent
// alone still get no more than the registry gives them itself.
func TestStrangersGetNoMoreThanFromTheRegistry(t *testing.T) {
	s := newScene(t, Pod)
	root := s.publish()
	s.registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.registry.Allow("nobody", "no-secret")
	s.registry.Allow("parent", "parent-secret", "org/app")
	s.user = [2]string{"all", "all-secret"}
	s.pull("v1")
	for _, user := range [][2]string{{}, {"nobody", "no-secret"}, {"all", "wrong"}, {"all"}, {"<token>", "all-secret"}, {"parent", "parent-secret"}} {
		s.user = user
		for _, path := range s.pathsOf(root) {
			may := user[0] == "parent" && slices.Contains([]string{"manifests/v1", "manifests/" + string(root.Digest), "referrers/" + string(root.Digest)}, path)
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				if got := s.do(method, "/v2/org/app/"+path); (got.status == http.StatusOK) != may {
					t.Errorf("%s: %s %s: %d %s", user[0], method, path, got.status, got.body)
				}
			}
		}
	}
}

// pathsOf are the paths at which all content of a bundle might be asked for.
func (s *scene) pathsOf(root ocispec.Descriptor) []string {
	s.t.Helper()
	paths := []string{"manifests/v1"}
	var add func(d ocispec.Descriptor)
	add = func(d ocispec.Descriptor) {
		paths = append(paths, "manifests/"+string(d.Digest), "blobs/"+string(d.Digest), "referrers/"+string(d.Digest))
		var document struct {
			Manifests, Layers []ocispec.Descriptor
			Config            ocispec.Descriptor
		}
		if strings.Contains(d.MediaType, ".image.index") || strings.Contains(d.MediaType, ".image.manifest") {
			if err := json.Unmarshal([]byte(s.get("manifests", d.Digest).body), &document); err != nil {
				s.t.Fatal(err)
			}
		}
		for _, child := range append(document.Manifests, document.Layers...) {
			add(child)
		}
		if document.Config.Digest != "" {
			add(document.Config)
		}
	}
	user := s.user
	s.user = [2]string{"all", "all-secret"}
	add(root)
	s.user = user
	return paths
}

// TestMembersGiveNoRights: what a member's repository shows a caller, under the tag that stands for what refers to it too,
// says nothing of the rights on the parent: a right that the registry takes away ends a minute after the parent itself
// has last shown something.
func TestMembersGiveNoRights(t *testing.T) {
	s := newScene(t, Pod)
	root := s.publish()
	s.registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.user = [2]string{"all", "all-secret"}
	s.pull("v1")
	member := s.children(s.get("manifests", root.Digest).body)[0]
	signature := s.registry.Referrer("org/app/web", member, "application/vnd.test")
	tag := strings.ReplaceAll(member.Digest.String(), ":", "-")
	s.registry.Tag("org/app/web", tag, s.registry.Index("org/app/web", signature).Digest)

	parent, err := auth.ParseRepository(s.registry.Host() + "/org/app")
	if err != nil {
		t.Fatal(err)
	}
	rights, mine := &s.server.Config.Handler.(*Gateway).rights, right{parent, caller{"all", "all-secret"}}
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
			if got := s.do(method, "/v2/org/app/"+path); got.status != http.StatusOK {
				t.Errorf("%s %s: %+v", method, path, got)
			}
			if now := shown(before); !now.Equal(before) {
				t.Errorf("%s %s: the right on the parent lasts %s longer", method, path, now.Sub(before))
			}
		}
	}
	if got := s.do(http.MethodGet, "/v2/org/app/manifests/v1"); got.status != http.StatusOK || !shown(before).After(before) {
		t.Errorf("the parent's own tag gives no right: %+v", got)
	}
}
