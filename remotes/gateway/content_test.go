package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestPlainContentPassesUnchanged: content that has nothing to do with child namespaces passes
// byte for byte, whatever it is.
func TestPlainContentPassesUnchanged(t *testing.T) {
	padded := func(size int) string {
		return `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[],"x":"` + strings.Repeat("x", size) + `"}`
	}
	for name, test := range map[string]struct{ mediaType, body string }{
		"5 MiB":              {ocispec.MediaTypeImageIndex, padded(5 << 20)},
		"9 MiB":              {ocispec.MediaTypeImageIndex, padded(9 << 20)},
		"not JSON":           {ocispec.MediaTypeImageManifest, "not JSON"},
		"docker list":        {"application/vnd.docker.distribution.manifest.list.v2+json", `{"schemaVersion":2,"manifests":[]}`},
		"docker schema 1":    {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"name":"x"}`},
		"unknown media type": {"application/vnd.test.thing+json; charset=utf-8", `{"thing":true}`},
		"duplicate keys":     {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"schemaVersion":2,"layers":[],"Layers":[]}`},
		"namespace of other": {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a","size":1,"digest":"sha256:x","namespace":"Not/A/Child"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			d := s.registry.Put("org/app", test.mediaType, []byte(test.body), "v1")
			for _, reference := range []string{"v1", d.Digest.String()} {
				head := s.do(http.MethodHead, "/v2/org/app/manifests/"+reference)
				got := s.do(http.MethodGet, "/v2/org/app/manifests/"+reference)
				if got.status != http.StatusOK || got.body != test.body || head.status != http.StatusOK {
					t.Errorf("%s: status %d and %d, %d bytes of %d", reference, head.status, got.status, len(got.body), len(test.body))
				}
				for _, header := range []string{"Content-Length", "Docker-Content-Digest"} {
					if head.header.Get(header) != got.header.Get(header) || head.header.Get(header) == "" {
						t.Errorf("%s: HEAD says %s %q, GET %q", reference, header, head.header.Get(header), got.header.Get(header))
					}
				}
			}
		})
	}
}

// TestHeadWithoutHeadersIsAnswered: some registries say nothing in answers to HEAD, or
// do not know it.
func TestHeadWithoutHeadersIsAnswered(t *testing.T) {
	for name, fault := range map[string]registrytest.Interceptor{
		"not allowed": registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.WithCredentials, registrytest.Method(http.MethodHead)),
		"no digest": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodHead || req.Header.Get("Authorization") == "" {
				return false
			}
			w.WriteHeader(http.StatusOK)
			return true
		},
		"what is no digest": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodHead || req.Header.Get("Authorization") == "" {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Docker-Content-Digest", "sha256:../../../secret/manifests/v1")
			w.WriteHeader(http.StatusOK)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			root := s.publish()
			s.registry.Intercept(fault)
			for _, reference := range []string{"v1", root.Digest.String()} {
				got := s.do(http.MethodHead, "/v2/org/app/manifests/"+reference)
				if got.status != http.StatusOK || got.header.Get("Docker-Content-Digest") != root.Digest.String() || got.header.Get("Content-Type") != root.MediaType {
					t.Errorf("%s: %+v", reference, got)
				}
			}
		})
	}
}

// TestInvalidIndexIsNamed: the error names the index, the position and the value, and
// no target is asked.
func TestInvalidIndexIsNamed(t *testing.T) {
	s := newScene(t, Node)
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	index := s.registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(web, "../victim"))
	s.registry.ResetLog()
	got := s.get("manifests", index.Digest)
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, "MANIFEST_INVALID") || !strings.Contains(got.body, "manifests[1]") || !strings.Contains(got.body, "../victim") {
		t.Errorf("%+v", got)
	}
	for _, q := range s.registry.Log() {
		if q.Repository != "" && q.Repository != "org/app" {
			t.Errorf("asked: %s", q)
		}
	}
}

// TestErrorOfAMemberNamesIt: what a member's registry answers reaches the client with
// the member's name.
func TestErrorOfAMemberNamesIt(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	denied := s.registry.Image("org/app/denied", registrytest.TarLayer(map[string]string{"x": "1"}))
	gone := denied
	gone.Digest = digest.FromString("gone")
	index := s.registry.Index("org/app", registrytest.Member(denied, "denied"), registrytest.Member(gone, "web"))
	if got := s.get("manifests", index.Digest); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if got := s.get("manifests", denied.Digest); got.status != http.StatusForbidden || !strings.Contains(got.body, "org/app/denied") {
		t.Errorf("denied: %+v", got)
	}
	if got := s.get("manifests", gone.Digest); got.status != http.StatusNotFound || !strings.Contains(got.body, "org/app/web") {
		t.Errorf("gone: %+v", got)
	}
}

// TestWrongMemberContentIsRefused: content of a member that is other than described is not passed on.
func TestWrongMemberContentIsRefused(t *testing.T) {
	s := newScene(t, Node)
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	index := s.registry.Index("org/app", registrytest.Member(web, "web"))
	s.registry.PutAs("org/app/web", web.MediaType, web.Digest, []byte(strings.Repeat("x", int(web.Size))))
	s.get("manifests", index.Digest)
	if got := s.get("manifests", web.Digest); got.status != http.StatusBadGateway || !strings.Contains(got.body, "does not verify") {
		t.Errorf("%+v", got)
	}
}

// TestReferrersAreWhereTheMemberIs: they are where the member is, by the API and by the tag that
// stands for it.
func TestReferrersAreWhereTheMemberIs(t *testing.T) {
	s := newScene(t, Node)
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	signature := s.registry.Referrer("org/app/web", web, "application/vnd.test.signature")
	index := s.registry.Index("org/app", registrytest.Member(web, "web"))
	s.get("manifests", index.Digest)
	got := s.get("referrers", web.Digest)
	var list ocispec.Index
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list.Manifests) != 1 || list.Manifests[0].Digest != signature.Digest {
		t.Errorf("%+v", got)
	}
	tag := strings.Replace(web.Digest.String(), ":", "-", 1) + ".sig"
	s.registry.Tag("org/app/web", tag, signature.Digest)
	if got := s.do(http.MethodGet, "/v2/org/app/manifests/"+tag); got.status != http.StatusOK || got.header.Get("Docker-Content-Digest") != signature.Digest.String() {
		t.Errorf("%+v", got)
	}
	if got := s.get("blobs", digest.FromString("{}")); got.status != http.StatusOK {
		t.Errorf("the signature's config: %+v", got)
	}
	for _, q := range s.registry.Log(registrytest.In("org/app")) {
		if q.Kind == registrytest.KindReferrers {
			t.Errorf("the parent was asked: %s", q)
		}
	}
}

// TestUnverifiedSaysNothing: what a tag names is passed on as it is, whatever digest the registry says that it has. Nothing
// is learnt of it unless it has that.
func TestUnverifiedSaysNothing(t *testing.T) {
	s := newScene(t, Node)
	root := s.publish()
	parent := repository(t, s.registry.Host()+"/org/app")
	member := s.children(s.registry.Body(root.Digest))[0]
	carried := s.registry.PutBlob("org/app", root.MediaType, []byte(s.registry.Body(s.registry.Index("org/elsewhere", registrytest.Member(member, "web")).Digest)))
	carrier := s.registry.Artifact("org/app", nested.CarrierType, carried)
	s.get("manifests", s.registry.Index("org/app", registrytest.Member(member, "web"), registrytest.Member(member, "a")).Digest) // says where its referrers are
	referrers := strings.Replace(string(member.Digest), ":", "-", 1)
	layer := s.registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
	manifest := s.registry.Artifact("org/app/web", "application/x-test", layer)
	for i, c := range []struct {
		in, tag string
		is      ocispec.Descriptor
		of      digest.Digest // what it would say something of
	}{
		{"org/app", "v1", root, s.children(s.registry.Body(root.Digest))[1].Digest},
		{"org/app", "v2", carrier, carried.Digest},
		{"org/app/web", referrers, s.registry.Index("org/app/web", manifest), manifest.Digest},
	} {
		another, body := digest.FromString(fmt.Sprint("another", i)), s.registry.Body(c.is.Digest)
		s.registry.PutAs(c.in, c.is.MediaType, another, []byte(body))
		s.registry.Tag(c.in, c.tag, another)
		if got := s.do(http.MethodGet, "/v2/org/app/manifests/"+c.tag); got.status != http.StatusOK || got.body != body || got.header.Get("Docker-Content-Digest") != string(another) {
			t.Errorf("%d: %+v", i, got)
		}
		if places := append(s.locations.Places(parent, c.of), s.locations.Places(parent, another)...); len(places) > 0 {
			t.Errorf("%d: learnt %v", i, places)
		}
		s.registry.Tag(c.in, c.tag, c.is.Digest) // and of the same that is what it says
		if s.do(http.MethodGet, "/v2/org/app/manifests/"+c.tag); len(s.locations.Places(parent, c.of)) == 0 {
			t.Errorf("%d: nothing is learnt of what verifies", i)
		}
	}
}

// TestFirstEntryOfTheRegistryCounts: the registry stands in hosts.toml with its CA, and once more without, as `server`. What it answers
// counts, and the caller's credentials are for both.
func TestFirstEntryOfTheRegistryCounts(t *testing.T) {
	for _, mode := range []Mode{Node, Pod} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := newScene(t, mode, registrytest.WithTLS())
			image := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
			s.registry.Tag("org/app", "v1", image.Digest)
			s.options.HostsDir = hostsDir(t, s.registry.Host())
			dir := filepath.Join(s.options.HostsDir, s.registry.Host())
			text := fmt.Sprintf("server = %q\n[host.%[1]q]\nca = \"ca.pem\"\n", s.registry.URL())
			for name, data := range map[string]string{"hosts.toml": text, "ca.pem": string(s.registry.CA())} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.start(filepath.Join(t.TempDir(), "locations"))
			s.user = [2]string{"user of org/app", secret}
			s.pull("v1")
			if err := s.server.Config.Handler.(*Gateway).Check(); err != nil {
				t.Error(err)
			}
			if got := s.do(http.MethodGet, "/v2/org/app/manifests/none"); got.status != http.StatusNotFound {
				t.Errorf("a tag that is not there: %d %s", got.status, got.body)
			}
			s.registry.Allow("user of org/app", "another")
			s.start(filepath.Join(t.TempDir(), "locations"))
			want := map[Mode]int{Node: http.StatusForbidden, Pod: http.StatusUnauthorized}[mode]
			if got := s.do(http.MethodGet, "/v2/org/app/manifests/v1"); got.status != want {
				t.Errorf("wrong password: %d %s", got.status, got.body)
			}
		})
	}
}

// TestMirrorNamesNothing: a mirror that hosts.toml trusts with content alone is not asked what there is under a name.
func TestMirrorNamesNothing(t *testing.T) {
	s := newScene(t, Node)
	image := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	s.registry.Tag("org/app", "v1", image.Digest)
	mirror := registrytest.New()
	t.Cleanup(mirror.Close)
	mirror.Tag("org/app", "v1", mirror.Image("org/app", registrytest.TarLayer(map[string]string{"a": "evil"})).Digest)
	s.options.HostsDir = hostsDir(t, s.registry.Host())
	text := fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\"]\n", s.registry.URL(), mirror.URL())
	if err := os.WriteFile(filepath.Join(s.options.HostsDir, s.registry.Host(), "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	byName := func(q registrytest.Request) bool {
		return q.Kind == registrytest.KindTags || strings.HasSuffix(q.Path, "/v1")
	}
	for _, path := range []string{"manifests/v1", "tags/list"} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if got := s.do(method, "/v2/org/app/"+path); got.status != http.StatusOK || mirror.Count(byName) > 0 {
				t.Errorf("%s %s: %+v, the mirror was asked %v", method, path, got, mirror.Log())
			}
		}
	}
	if got := s.get("manifests", image.Digest); got.status != http.StatusOK || mirror.Count() == 0 {
		t.Errorf("by digest: %+v, the mirror was asked %v", got, mirror.Log())
	}
}

// TestCheckNamesUnreadableHosts: a hosts.toml that cannot be read is named before it is needed.
func TestCheckNamesUnreadableHosts(t *testing.T) {
	s := newScene(t, Node)
	s.options.HostsDir = hostsDir(t, s.registry.Host())
	path := filepath.Join(s.options.HostsDir, s.registry.Host(), "hosts.toml")
	if err := os.WriteFile(path, []byte("server = ["), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	err := s.server.Config.Handler.(*Gateway).Check()
	if err == nil || !strings.Contains(err.Error(), s.registry.Host()) {
		t.Errorf("got %v", err)
	}
	if got := s.do(http.MethodGet, "/v2/org/app/manifests/v1"); got.status != http.StatusBadGateway {
		t.Errorf("a request: %d %s", got.status, got.body)
	}
}

// TestWrongPlainContentIsRefused: of what has nothing to do with child namespaces, too, the
// client gets no bytes but those that it asked for: containerd would keep them,
// and refuse them at the next pull again.
func TestWrongPlainContentIsRefused(t *testing.T) {
	s := newScene(t, Node)
	image := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	right := s.get("manifests", image.Digest)
	s.registry.PutAs("org/app", image.MediaType, image.Digest, []byte(strings.Replace(right.body, "{", "}", 1)))
	if got := s.get("manifests", image.Digest); got.status != http.StatusBadGateway || !strings.Contains(got.body, "org/app does not verify") {
		t.Errorf("%+v", got)
	}
	s.registry.Tag("org/app", "v1", image.Digest)
	s.registry.Intercept(registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.WithCredentials, registrytest.Method(http.MethodHead)))
	s.do(http.MethodHead, "/v2/org/app/manifests/v1") // is read, under the digest that the registry says
	if got := s.get("manifests", image.Digest); got.status != http.StatusBadGateway {
		t.Errorf("after a HEAD of its tag: %+v", got)
	}
	s.registry.PutAs("org/app", image.MediaType, image.Digest, []byte(right.body))
	if got := s.get("manifests", image.Digest); got.status != http.StatusOK || got.body != right.body {
		t.Errorf("%+v", got)
	}
}
