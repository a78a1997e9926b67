package nested_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestResolvingIsOneRequest is about the one request that resolves a reference, and what a
// registry may answer to it.
func TestResolvingIsOneRequest(t *testing.T) {
	for name, test := range map[string]struct {
		put  func(*scene) (reference string)
		says string // nothing: it is pulled
	}{
		"by tag": {func(s *scene) string { clienttest.PutBundle(s.registry, parent); return ":v1" }, ""},
		"by digest": {func(s *scene) string {
			member := clienttest.PutBundle(s.registry, parent)
			return "@" + digest.FromBytes(clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))).String()
		}, ""},
		"by tag and digest": {func(s *scene) string {
			member := clienttest.PutBundle(s.registry, parent)
			return ":other@" + digest.FromBytes(clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))).String()
		}, ""},
		"by a tag that is not there": {func(*scene) string { return ":v1" }, "not found"},
		"without a digest in the answer": {func(s *scene) string {
			s.withoutDigest(clienttest.IndexOf(registrytest.Member(clienttest.PutBundle(s.registry, parent).Descriptor, "web")))
			return ":v1"
		}, ""},
		"with the digest of other content": {func(s *scene) string {
			s.registry.PutAs(parent, ocispec.MediaTypeImageIndex, digest.FromString("other"), clienttest.IndexOf())
			s.registry.Tag(parent, "v1", digest.FromString("other"))
			return ":v1"
		}, "other content"},
		"more than containerd resolves": {func(s *scene) string {
			s.put(ocispec.MediaTypeImageIndex, []byte(`{"x":"`+strings.Repeat("x", 5<<20)+`"}`))
			return ":v1"
		}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+test.put(s))
			if n := s.registry.Count(registrytest.Method(http.MethodHead)); n != 0 {
				t.Errorf("%d HEAD requests", n)
			}
			if test.says == "" {
				clienttest.NoError(t, err)
				if n := s.registry.Count(registrytest.In(parent), registrytest.WithCredentials); n != 1 {
					t.Errorf("%d requests for the root", n)
				}
				return
			}
			clienttest.WantError(t, err, test.says)
			if errdefs.IsNotFound(err) != (test.says == "not found") || len(digests(s.store)) != 0 {
				t.Errorf("got %v, and %q in the store", err, digests(s.store))
			}
		})
	}
}

// TestDigestOfOtherContent: what is asked for by digest is refused when it is
// something else.
func TestDigestOfOtherContent(t *testing.T) {
	s := newScene(t, nested.Options{})
	other := digest.FromString("other")
	s.registry.PutAs(parent, ocispec.MediaTypeImageIndex, other, clienttest.IndexOf())
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+"@"+other.String())
	clienttest.WantError(t, err)
	if found := digests(s.store); len(found) != 0 {
		t.Errorf("%q is stored", found)
	}
}

// withoutDigest lets the parent serve the tag v1 as some registries do.
func (s *scene) withoutDigest(body []byte) {
	s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); q.Reference != "v1" || q.Authorization == "" {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = w.Write(body)
		return true
	})
}
