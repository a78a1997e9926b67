package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
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

// BenchmarkTrail looks content up that is on the trail, among as many digests, each in a member of its own hundred.
func BenchmarkTrail(b *testing.B) {
	for _, digests := range []int{1_000, 1_000_000} {
		b.Run(strconv.Itoa(digests), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "trail")
			trail, err := OpenTrail(file, TrailOptions{MaxBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			parent := repository(b, "reg.test/org/app")
			of := func(i int) digest.Digest { return digest.FromString(strconv.Itoa(i)) }
			for i := 0; i < digests; i += 1000 {
				member := repository(b, fmt.Sprintf("reg.test/org/app/member-%d", i%100_000/1000))
				var places []nested.Place
				for j := range 1000 {
					places = append(places, placeOf(of(i+j), member))
				}
				trail.Learn(b.Context(), parent, places...)
			}
			if err = trail.Close(); err != nil { // all is written
				b.Fatal(err)
			}
			if trail, err = OpenTrail(file, TrailOptions{MaxBytes: 1 << 40}); err != nil {
				b.Fatal(err)
			}
			defer trail.Close()
			size := trail.Size()
			i := 0
			for b.Loop() {
				i = (i + 7919) % digests
				if _, ok := trail.Place(parent, of(i)); !ok {
					b.Fatal("it is not there")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "look-ups/s")
			b.ReportMetric(float64(size)/float64(digests), "bytes/digest")
		})
	}
}
