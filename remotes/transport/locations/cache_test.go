package locations

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// probeVariable makes the test binary the process that probes a file.
const probeVariable = "LOCATIONS_TEST_PROBE"

func TestMain(m *testing.M) {
	if path := os.Getenv(learnVariable); path != "" {
		learnForEver(path)
	}
	if path := os.Getenv(probeVariable); path != "" {
		if Probe(path) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

// probe is a Probe in a process of its own, which may end in any way.
func probe(path string) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), probeVariable+"="+path, "GORACE=atexit_sleep_ms=0") // with -race it would sleep a second
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", ErrDamaged, err, said)
	}
	return nil
}

func openTest(t *testing.T, path string, o Options) *Cache {
	t.Helper()
	cache, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	return cache
}

func placeOf(parent auth.Repository, d digest.Digest, targets ...auth.Repository) nested.Place {
	return fieldsOf(parent, d, targets...).place()
}

// fields are the parts of a place of a test.
type fields nested.PlaceFields

// fieldsOf are those of an entry of a nested index in a repository.
func fieldsOf(parent auth.Repository, d digest.Digest, targets ...auth.Repository) fields {
	return fields{By: parent, Descriptor: ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: 7}, Targets: targets, Strict: true, Entry: true, Depth: 1}
}

func (f fields) place() nested.Place {
	p, err := nested.PlaceFields(f).Place()
	if err != nil {
		panic(err)
	}
	return p
}

func TestCacheRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locations")
	parent, a, b := clienttest.Repository(t, "reg.test/p"), clienttest.Repository(t, "reg.test/p/a"), clienttest.Repository(t, "reg.test/p/b/c")
	d := digest.FromString("content")
	first := openTest(t, path, Options{})
	_ = first.Learn(context.Background(), parent, placeOf(parent, d, a))
	if p, ok := first.Place(parent, d); !ok || !slices.Equal(p.Fields().Targets, []auth.Repository{a}) {
		t.Errorf("at once: %+v, %v", p, ok)
	}
	_ = first.Learn(context.Background(), parent, placeOf(parent, d, b)) // moved: asked first, from now on
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := openTest(t, path, Options{Probe: probe})
	want := placeOf(parent, d, b, a)
	if p, ok := again.Place(parent, d); !ok || fmt.Sprint(p) != fmt.Sprint(want) {
		t.Errorf("after a restart: %+v, want %+v", p, want)
	}
	if p, ok := again.Place(clienttest.Repository(t, "reg.test/other"), d); ok {
		t.Errorf("in another repository: %+v", p)
	}
	if _, err := Open(path, Options{Probe: probe}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a file that is in use: %v", err)
	}
	if aside, err := filepath.Glob(path + ".*"); err != nil || len(aside) > 0 {
		t.Errorf("put aside: %q, %v", aside, err)
	}
	if _, err := Open(path, Options{Probe: func(string) error { return errors.New("no more processes") }}); err == nil {
		t.Error("a file that could not be probed was opened")
	}
}

// TestCacheDamaged: whatever the file is, the gateway starts, with what is
// readable or with nothing, and what was there is put aside.
func TestCacheDamaged(t *testing.T) {
	parent := clienttest.Repository(t, "reg.test/p")
	sound := filepath.Join(t.TempDir(), "sound")
	cache := openTest(t, sound, Options{})
	for i := range 2000 {
		_ = cache.Learn(context.Background(), parent, placeOf(parent, digest.FromString(fmt.Sprint(i)), clienttest.Repository(t, "reg.test/p/web")))
	}
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	garbled := func(from, to int) []byte {
		spoiled := slices.Clone(data)
		_, _ = rand.Read(spoiled[from:to])
		return spoiled
	}
	huge := slices.Clone(data)
	huge[rootPage(huge)*os.Getpagesize()+15] = 0x40 // it goes on for 2^30 pages, as many as fill the memory
	for name, damaged := range map[string][]byte{
		"empty":            {},
		"truncated":        data[:len(data)/2],
		"cut in a page":    data[:len(data)-1000],
		"one page":         data[:4096],
		"random":           garbled(0, len(data)),
		"random meta":      garbled(0, 8192),
		"random pages":     garbled(8192, len(data)),
		"huge page":        huge,
		"random in middle": garbled(len(data)/2, len(data)/2+4096),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "locations")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			cache := openTest(t, path, Options{Probe: func(path string) error {
				err := probe(path)
				if name == "huge page" && (err == nil || !strings.Contains(err.Error(), "fills the memory")) {
					t.Errorf("the probe: %v", err)
				}
				return err
			}})
			d := digest.FromString("new")
			_ = cache.Learn(context.Background(), parent, placeOf(parent, d, parent))
			if err := cache.Close(); err != nil {
				t.Fatal(err)
			}
			if _, ok := openTest(t, path, Options{Probe: probe}).Place(parent, d); !ok {
				t.Error("what was learnt afterwards is lost")
			}
		})
	}
}

// rootPage is the page at which bbolt begins, by the later of its two meta pages.
func rootPage(data []byte) int {
	const root, transaction = 32, 64
	first, second := data, data[os.Getpagesize():]
	if binary.NativeEndian.Uint64(second[transaction:]) > binary.NativeEndian.Uint64(first[transaction:]) {
		first = second
	}
	return int(binary.NativeEndian.Uint64(first[root:]))
}

func TestCacheNotOurs(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"another format": func(path string) error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			err = db.Update(func(tx *bbolt.Tx) error { _, failed := tx.CreateBucket([]byte("nested-trail-1")); return failed })
			return errors.Join(err, db.Close())
		},
		"writable by all": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666))
		},
		"of another user": func(path string) error {
			if os.Geteuid() != 0 { // who cannot give files away
				return os.WriteFile(path, nil, 0o666)
			}
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 65533, 0))
		},
		"a link": func(path string) error { return os.Symlink(filepath.Join(filepath.Dir(path), "elsewhere"), path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "locations")
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			openTest(t, path, Options{Probe: probe})
			if aside, err := filepath.Glob(path + ".unreadable-*"); err != nil || len(aside) != 1 {
				t.Errorf("put aside: %q, %v", aside, err)
			}
		})
	}
}

// said is a record of a place that was seen at a time.
func said(parent auth.Repository, p nested.Place, seen time.Time) record {
	return record{Seen: seen.Unix(), Says: []statement{newStatement(parent, p, seen.Unix())}}
}

// TestCacheAges: a candidate that is not seen any more is forgotten, however
// often the content is seen elsewhere.
func TestCacheAges(t *testing.T) {
	parent, a, b := clienttest.Repository(t, "reg.test/p"), clienttest.Repository(t, "reg.test/p/a"), clienttest.Repository(t, "reg.test/p/b")
	cache := openTest(t, filepath.Join(t.TempDir(), "locations"), Options{MaxAge: time.Hour})
	d := digest.FromString("moved")
	k := key(parent, d)
	_ = cache.put(t.Context(), batch{k: said(parent, placeOf(parent, d, a), time.Now().Add(-59*time.Minute))})
	_ = cache.Learn(t.Context(), parent, placeOf(parent, d, b))
	for range 2 { // pending, and written
		if p, _ := cache.Place(parent, d); !slices.Equal(p.Fields().Targets, []auth.Repository{b, a}) {
			t.Errorf("targets %v", p.Fields().Targets)
		}
		if err := cache.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	cache.options.MaxAge = 58 * time.Minute
	if p, _ := cache.Place(parent, d); !slices.Equal(p.Fields().Targets, []auth.Repository{b}) {
		t.Errorf("later: targets %v", p.Fields().Targets)
	}
}

// TestCacheKeepsClaimsApart: whatever order statements come in, and whether they are pending or written, each source has
// its own, the repository's come first, and there are not many.
func TestCacheKeepsClaimsApart(t *testing.T) {
	parent := clienttest.Repository(t, "reg.test/p")
	cache := openTest(t, filepath.Join(t.TempDir(), "locations"), Options{})
	d := digest.FromString("content")
	learn := func(by string, size int64, targets ...string) {
		t.Helper()
		p := fieldsOf(parent, d)
		p.By, p.Descriptor.Size = clienttest.Repository(t, by), size
		for _, target := range targets {
			p.Targets = append(p.Targets, clienttest.Repository(t, target))
		}
		if err := cache.Learn(t.Context(), parent, p.place()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		learn("reg.test/p/evil", int64(i), "reg.test/p/evil/x")
		learn(fmt.Sprint("reg.test/p/evil/", i), 5, "reg.test/p/evil/y")
	}
	learn("reg.test/p/web", 7, "reg.test/p/web")
	learn("reg.test/p", 7, "reg.test/p")
	learn("reg.test/p/evil", 9, "reg.test/p/evil/x")
	for _, state := range []string{"pending", "written"} {
		places := cache.Places(parent, d)
		var by []string
		for _, p := range places {
			by = append(by, p.By().Name())
		}
		if len(by) > 10 || by[0] != "p" || !slices.Contains(by, "p/web") || !places.Known(parent) {
			t.Errorf("%s: %q", state, by)
		}
		if err := cache.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	many := make([]nested.Place, 9900)
	for i := range many {
		many[i] = placeOf(parent, digest.FromString("often"), parent).As("application/octet-stream", int64(i))
	}
	if err := errors.Join(cache.LearnManifest(t.Context(), parent, placeOf(parent, d, parent), parent, many), cache.Sync()); err != nil {
		t.Fatal(err)
	}
	if n := len(cache.Places(parent, digest.FromString("often"))); n != maxTargets {
		t.Errorf("%d of one document", n)
	}
}

// TestCacheLearnsAtOnce: nothing that is learnt at the same time is lost.
func TestCacheLearnsAtOnce(t *testing.T) {
	parent := clienttest.Repository(t, "reg.test/p")
	cache := openTest(t, filepath.Join(t.TempDir(), "locations"), Options{})
	d := digest.FromString("content")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_ = cache.Learn(context.Background(), parent, placeOf(parent, d, clienttest.Repository(t, fmt.Sprintf("reg.test/p/%d", i))))
		})
	}
	all.Wait()
	if p, _ := cache.Place(parent, d); len(p.Fields().Targets) != 8 {
		t.Errorf("targets %v", p.Fields().Targets)
	}
	if err := cache.Close(); err != nil || cache.Size() != 0 {
		t.Errorf("closed: %v, %d bytes", err, cache.Size())
	}
}

// TestCacheBounded: the oldest is forgotten when it is too old, and when the
// file grows too large.
func TestCacheBounded(t *testing.T) {
	options := Options{MaxBytes: 1 << 20, MaxAge: time.Hour}
	t.Run("on disk", func(t *testing.T) {
		checkBounded(t, openTest(t, filepath.Join(t.TempDir(), "locations"), options))
	})
	t.Run("in memory", func(t *testing.T) {
		cache, err := OpenInMemory(options)
		if err != nil {
			t.Fatal(err)
		}
		checkBounded(t, cache)
		if err = cache.Close(); err != nil {
			t.Error(err)
		}
	})
}

func checkBounded(t *testing.T, cache *Cache) {
	t.Helper()
	parent := clienttest.Repository(t, "reg.test/p")
	old := digest.FromString("old")
	_ = cache.put(t.Context(), batch{key(parent, old): said(parent, placeOf(parent, old, parent), time.Now().Add(-2*time.Hour))})
	if p, ok := cache.Place(parent, old); ok {
		t.Errorf("too old: %+v", p)
	}
	for i := range 20_000 {
		d := digest.FromString(fmt.Sprint(i))
		_ = cache.put(t.Context(), batch{key(parent, d): said(parent, placeOf(parent, d, parent), time.Now().Add(time.Duration(i-20_000)*time.Second/10))})
	}
	if err := errors.Join(cache.Sync(), cache.prune()); err != nil {
		t.Fatal(err)
	}
	if size := cache.Size(); size > 1<<20 {
		t.Errorf("%d bytes are in use", size)
	}
	if _, ok := cache.Place(parent, digest.FromString("19999")); !ok {
		t.Error("the latest is forgotten")
	}
	if _, ok := cache.Place(parent, digest.FromString("1")); ok {
		t.Error("the oldest is kept")
	}
}

// learnVariable makes the test binary a process that learns until it is killed.
const learnVariable = "LOCATIONS_TEST_LEARN"

// learnForEver says of each place that it is written.
func learnForEver(path string) {
	parent, err := auth.ParseRepository("reg.test/p")
	if err != nil {
		panic(err)
	}
	cache, err := Open(path, Options{})
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		_ = cache.Learn(context.Background(), parent, placeOf(parent, digest.FromString(fmt.Sprint(i)), parent))
		if err := cache.Sync(); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// TestCacheKilled: what was written is there after kill -9 at any moment, and
// nothing is put aside.
func TestCacheKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locations")
	parent := clienttest.Repository(t, "reg.test/p")
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), learnVariable+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, written := bufio.NewScanner(out), 0
		for lines.Scan() {
			written++
			if written == 1+13*round {
				_ = cmd.Process.Kill() // it goes on for a moment
			}
		}
		_ = cmd.Wait() // it was killed
		if written < 1+13*round {
			t.Fatalf("it ended after %d", written)
		}
		cache := openTest(t, path, Options{Probe: probe})
		for i := range written {
			if _, ok := cache.Place(parent, digest.FromString(fmt.Sprint(i))); !ok {
				t.Errorf("%d of %d is lost", i, written)
			}
		}
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if aside, err := filepath.Glob(path + ".*"); err != nil || len(aside) > 0 {
		t.Errorf("put aside: %q, %v", aside, err)
	}
}
