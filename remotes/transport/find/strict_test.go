package find

import (
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestContentBelowANestedIndexIsStrict: a manifest or an index that is reached through a nested
// index is what its descriptor says, in size and media type, too, or it is
// answered to nobody.
func TestContentBelowANestedIndexIsStrict(t *testing.T) {
	t.Parallel()
	same := func(d ocispec.Descriptor) ocispec.Descriptor { return d }
	for name, c := range map[string]struct {
		described func(ocispec.Descriptor) ocispec.Descriptor // in the index
		servedAs  string                                      // none: as what it is
		error     string                                      // none: it is answered
	}{
		"as described":        {same, "", ""},
		"served as JSON":      {same, "application/json", ""},
		"served as bytes":     {same, "application/octet-stream", ""},
		"served with charset": {same, ocispec.MediaTypeImageManifest + "; charset=utf-8", ""},
		"a byte more":         {func(d ocispec.Descriptor) ocispec.Descriptor { d.Size--; return d }, "", "size is"},
		"a byte less":         {func(d ocispec.Descriptor) ocispec.Descriptor { d.Size++; return d }, "", "size is"},
		"served as an index":  {same, ocispec.MediaTypeImageIndex, "it is served as"},
		"served as a page":    {same, "text/html", "it is served as"},
		"an index by its descriptor": {func(d ocispec.Descriptor) ocispec.Descriptor {
			d.MediaType = ocispec.MediaTypeImageIndex
			return d
		}, "", "it is served as"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(name+" "+method, func(t *testing.T) {
				s := newScene(t, node)
				web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
				if c.servedAs != "" {
					s.Registry.PutAs("org/app/web", c.servedAs, web.Digest, s.bytesOf("org/app/web", web))
				}
				index := s.Registry.Index("org/app", registrytest.Member(c.described(web), "web"))
				if got := s.Get("manifests", index.Digest); got.Status != http.StatusOK {
					t.Fatalf("%+v", got)
				}
				got := s.Do(method, "/v2/org/app/manifests/"+web.Digest.String())
				if want := c.error == ""; (got.Status == http.StatusOK) != want || method == http.MethodGet && !strings.Contains(got.Body, c.error) {
					t.Errorf("got %+v, want %q", got, c.error)
				}
			})
		}
	}
}

// bytesOf are the bytes of a manifest in the registry.
func (s *scene) bytesOf(repository string, d ocispec.Descriptor) []byte {
	s.T.Helper()
	got := s.Do(http.MethodGet, "/v2/"+repository+"/manifests/"+d.Digest.String())
	if got.Status != http.StatusOK {
		s.T.Fatalf("%+v", got)
	}
	s.Registry.ResetLog()
	return []byte(got.Body)
}
