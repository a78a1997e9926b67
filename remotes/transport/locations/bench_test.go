package locations

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/remotes/nested"
)

// BenchmarkLocations looks content up that is in the location cache, among as many digests, each in a member of its own hundred.
func BenchmarkLocations(b *testing.B) {
	for _, digests := range []int{1_000, 1_000_000} {
		b.Run(strconv.Itoa(digests), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "locations")
			cache, err := Open(file, Options{MaxBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			parent := clienttest.Repository(b, "reg.test/org/app")
			of := func(i int) digest.Digest { return digest.FromString(strconv.Itoa(i)) }
			for i := 0; i < digests; i += 1000 {
				member := clienttest.Repository(b, fmt.Sprintf("reg.test/org/app/member-%d", i%100_000/1000))
				var places []nested.Place
				for j := range 1000 {
					places = append(places, placeOf(parent, of(i+j), member))
				}
				_ = cache.Learn(b.Context(), parent, places...)
			}
			if err = cache.Close(); err != nil { // all is written
				b.Fatal(err)
			}
			if cache, err = Open(file, Options{MaxBytes: 1 << 40}); err != nil {
				b.Fatal(err)
			}
			defer cache.Close()
			size := cache.Size()
			i := 0
			for b.Loop() {
				i = (i + 7919) % digests
				if _, ok := cache.Place(parent, of(i)); !ok {
					b.Fatal("it is not there")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "look-ups/s")
			b.ReportMetric(float64(size)/float64(digests), "bytes/digest")
		})
	}
}
