package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// FuzzTrailFile: a file that the probe takes for sound can be opened, looked into, learnt to and closed. The
// probe is a process of its own, as it is in use.
func FuzzTrailFile(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "seed")
	trail, err := OpenTrail(seed, TrailOptions{})
	if err != nil {
		f.Fatal(err)
	}
	parent := repository(f, "reg.test/p")
	known := digest.FromString("known")
	_ = trail.Learn(f.Context(), parent, placeOf(parent, known, repository(f, "reg.test/p/web")))
	if err = trail.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, uint16(0), []byte{})
	for at := 0; at+8 < 16<<10; at += 256 {
		f.Add(at, uint16(0), []byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
		f.Add(at, uint16(at), []byte{1})
	}
	f.Fuzz(func(t *testing.T, at int, cut uint16, change []byte) {
		spoiled := append([]byte(nil), data...)
		if at >= 0 && at < len(spoiled) {
			copy(spoiled[at:], change)
		}
		path := filepath.Join(t.TempDir(), "trail")
		if err := os.WriteFile(path, spoiled[:len(spoiled)-int(cut)%len(spoiled)], 0o600); err != nil {
			t.Fatal(err)
		}
		if probe(path) != nil {
			return
		}
		trail, err := OpenTrail(path, TrailOptions{})
		if err != nil {
			t.Fatalf("a sound file: %v", err)
		}
		trail.Place(parent, known)
		trail.Roots(parent, maxRoots)
		d := digest.FromString("new")
		_ = trail.Learn(t.Context(), parent, placeOf(parent, d, parent))
		if _, ok := trail.Place(parent, d); !ok {
			t.Error("it does not learn")
		}
		if err := trail.Close(); err != nil {
			t.Error(err)
		}
	})
}
