package find

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

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestPlainContentPassesUnchanged: content that has nothing to do with child namespaces passes
// byte for byte, whatever it is.
func TestPlainContentPassesUnchanged(t *testing.T) {
	t.Parallel()
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
			s := newScene(t, node)
			d := s.Registry.Put("org/app", test.mediaType, []byte(test.body), "v1")
			for _, reference := range []string{"v1", d.Digest.String()} {
				head := s.Do(http.MethodHead, "/v2/org/app/manifests/"+reference)
				got := s.Do(http.MethodGet, "/v2/org/app/manifests/"+reference)
				if got.Status != http.StatusOK || got.Body != test.body || head.Status != http.StatusOK {
					t.Errorf("%s: status %d and %d, %d bytes of %d", reference, head.Status, got.Status, len(got.Body), len(test.body))
				}
				for _, header := range []string{"Content-Length", "Docker-Content-Digest"} {
					if head.Header.Get(header) != got.Header.Get(header) || head.Header.Get(header) == "" {
						t.Errorf("%s: HEAD says %s %q, GET %q", reference, header, head.Header.Get(header), got.Header.Get(header))
					}
				}
			}
		})
	}
}

// TestHeadWithoutHeadersIsAnswered: some registries say nothing in answers to HEAD, or
// do not know it.
func TestHeadWithoutHeadersIsAnswered(t *testing.T) {
	t.Parallel()
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
			s := newScene(t, node)
			root := s.Publish()
			s.Registry.Intercept(fault)
			for _, reference := range []string{"v1", root.Digest.String()} {
				got := s.Do(http.MethodHead, "/v2/org/app/manifests/"+reference)
				if got.Status != http.StatusOK || got.Header.Get("Docker-Content-Digest") != root.Digest.String() || got.Header.Get("Content-Type") != root.MediaType {
					t.Errorf("%s: %+v", reference, got)
				}
			}
		})
	}
}

// TestReferrersAreWhereTheMemberIs: they are where the member is, by the API and by the tag that
// stands for it.
func TestReferrersAreWhereTheMemberIs(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	signature := s.Registry.Referrer("org/app/web", web, "application/vnd.test.signature")
	index := s.Registry.Index("org/app", registrytest.Member(web, "web"))
	s.Get("manifests", index.Digest)
	got := s.Get("referrers", web.Digest)
	var list ocispec.Index
	if err := json.Unmarshal([]byte(got.Body), &list); err != nil || len(list.Manifests) != 1 || list.Manifests[0].Digest != signature.Digest {
		t.Errorf("%+v", got)
	}
	tag := strings.Replace(web.Digest.String(), ":", "-", 1) + ".sig"
	s.Registry.Tag("org/app/web", tag, signature.Digest)
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/"+tag); got.Status != http.StatusOK || got.Header.Get("Docker-Content-Digest") != signature.Digest.String() {
		t.Errorf("%+v", got)
	}
	if got := s.Get("blobs", digest.FromString("{}")); got.Status != http.StatusOK {
		t.Errorf("the signature's config: %+v", got)
	}
	for _, q := range s.Registry.Log(registrytest.In("org/app")) {
		if q.Kind == registrytest.KindReferrers {
			t.Errorf("the parent was asked: %s", q)
		}
	}
}

// TestUnverifiedSaysNothing: what a tag names is passed on as it is, whatever digest the registry says that it has. Nothing
// is learnt of it unless it has that.
func TestUnverifiedSaysNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	root := s.Publish()
	parent := s.repository("org/app")
	member := s.Children(s.Registry.Body(root.Digest))[0]
	carried := s.Registry.PutBlob("org/app", root.MediaType, []byte(s.Registry.Body(s.Registry.Index("org/elsewhere", registrytest.Member(member, "web")).Digest)))
	carrier := s.Registry.Artifact("org/app", nested.CarrierType, carried)
	s.Get("manifests", s.Registry.Index("org/app", registrytest.Member(member, "web"), registrytest.Member(member, "a")).Digest) // says where its referrers are
	referrers := strings.Replace(string(member.Digest), ":", "-", 1)
	layer := s.Registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
	manifest := s.Registry.Artifact("org/app/web", "application/x-test", layer)
	for i, c := range []struct {
		in, tag string
		is      ocispec.Descriptor
		of      digest.Digest // what it would say something of
	}{
		{"org/app", "v1", root, s.Children(s.Registry.Body(root.Digest))[1].Digest},
		{"org/app", "v2", carrier, carried.Digest},
		{"org/app/web", referrers, s.Registry.Index("org/app/web", manifest), manifest.Digest},
	} {
		another, body := digest.FromString(fmt.Sprint("another", i)), s.Registry.Body(c.is.Digest)
		s.Registry.PutAs(c.in, c.is.MediaType, another, []byte(body))
		s.Registry.Tag(c.in, c.tag, another)
		if got := s.Do(http.MethodGet, "/v2/org/app/manifests/"+c.tag); got.Status != http.StatusOK || got.Body != body || got.Header.Get("Docker-Content-Digest") != string(another) {
			t.Errorf("%d: %+v", i, got)
		}
		if places := append(s.Locations.Places(parent, c.of), s.Locations.Places(parent, another)...); len(places) > 0 {
			t.Errorf("%d: learnt %v", i, places)
		}
		s.Registry.Tag(c.in, c.tag, c.is.Digest) // and of the same that is what it says
		if s.Do(http.MethodGet, "/v2/org/app/manifests/"+c.tag); len(s.Locations.Places(parent, c.of)) == 0 {
			t.Errorf("%d: nothing is learnt of what verifies", i)
		}
	}
}

// TestMirrorNamesNothing: a mirror that hosts.toml trusts with content alone is not asked what there is under a name.
func TestMirrorNamesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	s.Registry.Tag("org/app", "v1", image.Digest)
	mirror := clienttest.NewRegistry(t)
	mirror.Tag("org/app", "v1", mirror.Image("org/app", registrytest.TarLayer(map[string]string{"a": "evil"})).Digest)
	s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	text := fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\"]\n", s.Registry.URL(), mirror.URL())
	if err := os.WriteFile(filepath.Join(s.options.hostsDir, s.Registry.Host(), "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	byName := func(q registrytest.Request) bool {
		return q.Kind == registrytest.KindTags || strings.HasSuffix(q.Path, "/v1")
	}
	for _, path := range []string{"manifests/v1", "tags/list"} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if got := s.Do(method, "/v2/org/app/"+path); got.Status != http.StatusOK || mirror.Count(byName) > 0 {
				t.Errorf("%s %s: %+v, the mirror was asked %v", method, path, got, mirror.Log())
			}
		}
	}
	if got := s.Get("manifests", image.Digest); got.Status != http.StatusOK || mirror.Count() == 0 {
		t.Errorf("by digest: %+v, the mirror was asked %v", got, mirror.Log())
	}
}

// TestWrongPlainContentIsRefused: of what has nothing to do with child namespaces, too, the
// client gets no bytes but those that it asked for: containerd would keep them,
// and refuse them at the next pull again.
func TestWrongPlainContentIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	right := s.Get("manifests", image.Digest)
	s.Registry.PutAs("org/app", image.MediaType, image.Digest, []byte(strings.Replace(right.Body, "{", "}", 1)))
	if got := s.Get("manifests", image.Digest); got.Status != http.StatusBadGateway || !strings.Contains(got.Body, "org/app does not verify") {
		t.Errorf("%+v", got)
	}
	s.Registry.Tag("org/app", "v1", image.Digest)
	s.Registry.Intercept(registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.WithCredentials, registrytest.Method(http.MethodHead)))
	s.Do(http.MethodHead, "/v2/org/app/manifests/v1") // is read, under the digest that the registry says
	if got := s.Get("manifests", image.Digest); got.Status != http.StatusBadGateway {
		t.Errorf("after a HEAD of its tag: %+v", got)
	}
	s.Registry.PutAs("org/app", image.MediaType, image.Digest, []byte(right.Body))
	if got := s.Get("manifests", image.Digest); got.Status != http.StatusOK || got.Body != right.Body {
		t.Errorf("%+v", got)
	}
}
