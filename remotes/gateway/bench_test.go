package gateway

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
)

// BenchmarkManifest asks the handler for a plain manifest again and again, and so the registry.
func BenchmarkManifest(b *testing.B) {
	r := registrytest.New(registrytest.WithTLS())
	b.Cleanup(r.Close)
	image := r.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	trail, err := OpenTrail(filepath.Join(b.TempDir(), "trail"), TrailOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer trail.Close()
	g := New(Options{Mode: Node, Registries: []string{r.Host()}, Credentials: auth.NewStores(auth.StoresOptions{}), Trail: trail})
	defer g.Close()
	req := httptest.NewRequest(http.MethodGet, "/v2/org/app/manifests/"+image.Digest.String()+"?ns="+r.Host(), nil)
	req.Host = "127.0.0.1"
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
		r.ResetLog()
	}
}
