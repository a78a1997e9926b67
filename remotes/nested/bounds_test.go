package nested

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestTrailsAreBounded: a resolver that lives long forgets old pulls, never
// the one that has just begun.
func TestTrailsAreBounded(t *testing.T) {
	r := New(nil, Options{})
	for i := range 3 * maxTrails {
		name := fmt.Sprintf("reg.test/p:v%d", i)
		r.remember(name, newTrail(repository(t, "reg.test/p"), r.rule))
		if _, ok := r.trail(name); !ok || len(r.trails) > maxTrails {
			t.Fatalf("after %d pulls %d trails are kept; the last among them: %t", i+1, len(r.trails), ok)
		}
	}
}

// TestTrailPinsNoText: what a pull remembers of large documents with few entries does not keep their text.
func TestTrailPinsNoText(t *testing.T) {
	root := repository(t, "reg.test/org/app")
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	trail, before := newTrail(root, NewRule(Keys{}, Limits{})), live()
	for i := range 32 {
		d := digest.FromString(strconv.Itoa(i))
		data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"annotations":{"org.test.x":%q},"manifests":[{"mediaType":%[1]q,"digest":%[3]q,"size":2,"platform":{"os":"linux","architecture":"amd64"},"annotations":{%[4]q:"web"}}]}`,
			ocispec.MediaTypeImageIndex, strings.Repeat("x", 1<<20), d, Annotation)
		p := Place{By: root, Targets: []auth.Repository{root}, Descriptor: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))}}
		if err := trail.learn(p, data, root); err != nil {
			t.Fatal(err)
		}
		if known, ok := trail.place(d); !ok || known.Targets[0].Name() != "org/app/web" {
			t.Fatalf("%+v", known)
		}
	}
	if kept := live() - before; kept > 4<<20 {
		t.Errorf("%d bytes are kept of 32 documents of 1 MiB", kept)
	}
	runtime.KeepAlive(trail)
}
