package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// BenchmarkManifest asks the handler for a plain manifest again and again, and so the registry.
func BenchmarkManifest(b *testing.B) {
	r := clienttest.NewRegistry(b, registrytest.WithTLS())
	image := r.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	ask := benchGateway(b, r)
	b.ReportAllocs()
	for b.Loop() {
		ask(image.Digest)
		r.ResetLog()
	}
}

// benchGateway is a gateway in mode Node, as the function that gets a manifest of org/app from it.
func benchGateway(b *testing.B, r *registrytest.Registry) (ask func(digest.Digest)) {
	b.Helper()
	cache, err := locations.Open(filepath.Join(b.TempDir(), "locations"), locations.Options{})
	if err != nil {
		b.Fatal(err)
	}
	g := New(Options{Mode: Node, Registries: []string{r.Host()}, Credentials: auth.NewStores(auth.StoresOptions{}), Locations: cache})
	b.Cleanup(func() {
		g.Close()
		_ = cache.Close()
	})
	return func(d digest.Digest) {
		req := httptest.NewRequest(http.MethodGet, "/v2/org/app/manifests/"+d.String()+"?ns="+r.Host(), nil)
		req.Host = "127.0.0.1"
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Error(w.Body)
		}
	}
}

// BenchmarkLargeIndex asks for an index of 9,900 members: for ones that are new, for one that is known, and for a small
// manifest while 20 others ask for large ones all the time.
func BenchmarkLargeIndex(b *testing.B) {
	r := clienttest.NewRegistry(b, registrytest.WithTLS())
	small := r.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"})).Digest
	var large []digest.Digest
	for i := range 20 {
		large = append(large, fronttest.LargeIndex(r, "org/app", fmt.Sprint("m", i, "x"), 9900).Digest)
	}
	b.Run("new", func(b *testing.B) {
		ask := benchGateway(b, r)
		for i := 0; b.Loop(); i++ {
			if i > 0 && i%len(large) == 0 {
				b.StopTimer()
				ask = benchGateway(b, r)
				b.StartTimer()
			}
			ask(large[i%len(large)])
		}
	})
	b.Run("known", func(b *testing.B) {
		ask := benchGateway(b, r)
		ask(large[0])
		for b.Loop() {
			ask(large[0])
		}
	})
	b.Run("beside 20", func(b *testing.B) {
		ask := benchGateway(b, r)
		stop := make(chan struct{})
		var others sync.WaitGroup
		for _, d := range large {
			others.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						ask(d)
					}
				}
			})
		}
		for b.Loop() {
			ask(small)
		}
		close(stop)
		others.Wait()
	})
}
