package locations

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/remotes/auth"
)

// FuzzLocationsFile: a file that the probe takes for sound can be opened, looked into, learnt to and closed. The
// probe is a process of its own, as it is in use.
func FuzzLocationsFile(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "seed")
	cache, err := Open(seed, Options{})
	if err != nil {
		f.Fatal(err)
	}
	parent := clienttest.Repository(f, "reg.test/p")
	known := digest.FromString("known")
	_ = cache.Learn(f.Context(), parent, placeOf(parent, known, clienttest.Repository(f, "reg.test/p/web")))
	if err = cache.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, uint16(0), []byte{})
	for at := 0; at+8 < 16<<10; at += 512 { // each starts a process
		f.Add(at, uint16(0), []byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
		f.Add(at, uint16(at), []byte{1})
	}
	f.Fuzz(func(t *testing.T, at int, cut uint16, change []byte) {
		spoiled := append([]byte(nil), data...)
		if at >= 0 && at < len(spoiled) {
			copy(spoiled[at:], change)
		}
		path := filepath.Join(t.TempDir(), "locations")
		if err := os.WriteFile(path, spoiled[:len(spoiled)-int(cut)%len(spoiled)], 0o600); err != nil {
			t.Fatal(err)
		}
		if probe(path) != nil {
			return
		}
		cache, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("a sound file: %v", err)
		}
		cache.Place(parent, known)
		cache.Roots(parent, MaxRoots)
		d := digest.FromString("new")
		_ = cache.Learn(t.Context(), parent, placeOf(parent, d, parent))
		if _, ok := cache.Place(parent, d); !ok {
			t.Error("it does not learn")
		}
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzRecord: whatever is in the file, content is looked for in the parent or below it.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{`{}`, `{"r":["web"],"w":[99999999999]}`, `{"b":"web","r":["web/a"],"w":[99999999999]}`, `{"b":"../up","r":["web"],"w":[99999999999]}`, `{"r":["../victim"],"w":[99999999999]}`, `{"r":[""],"f":["a/b","X"]}`, `{"r":["a","b"],"w":[99999999999]}`, `{"r":null,"w":[1,2,3]}`} {
		f.Add([]byte(`{"s":99999999999,"p":[` + s + `]}`))
	}
	parent, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		young := func(int64) bool { return false }
		var r record
		if json.Unmarshal(data, &r) != nil {
			return
		}
		for _, p := range r.current(young).places(parent, digest.FromString("x")) {
			f := p.Fields()
			if len(f.Targets) == 0 {
				t.Errorf("%q: nowhere", data)
			}
			for _, at := range slices.Concat(f.Targets, f.Fallbacks, []auth.Repository{f.By}) {
				if at != parent && (at.Host() != "reg.test" || !strings.HasPrefix(at.Name(), "org/app/") || path.Clean(at.Name()) != at.Name()) {
					t.Errorf("%q: %s", data, at)
				}
			}
		}
	})
}
