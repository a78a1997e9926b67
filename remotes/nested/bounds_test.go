package nested

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// TestPullsAreBounded: a resolver that lives long forgets old pulls, never
// the one that has just begun.
func TestPullsAreBounded(t *testing.T) {
	r := New(nil, Options{})
	for i := range 3 * maxPulls {
		name := fmt.Sprintf("reg.test/p:v%d", i)
		r.remember(name, newLocations(clienttest.Repository(t, "reg.test/p"), r.rule))
		if _, ok := r.locationsOf(name); !ok || len(r.locations) > maxPulls {
			t.Fatalf("after %d pulls the locations of %d are kept; the last among them: %t", i+1, len(r.locations), ok)
		}
	}
}

// TestLocationsPinNoText: what a pull remembers of large manifests and indexes with few entries does not keep their
// text.
func TestLocationsPinNoText(t *testing.T) {
	root := clienttest.Repository(t, "reg.test/org/app")
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	cache, before := newLocations(root, NewRule(Keys{}, Limits{})), live()
	for i := range 32 {
		d := digest.FromString(strconv.Itoa(i))
		data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"annotations":{"org.test.x":%q},"manifests":[{"mediaType":%[1]q,"digest":%[3]q,"size":2,"platform":{"os":"linux","architecture":"amd64"},"annotations":{%[4]q:"web"}}]}`,
			ocispec.MediaTypeImageIndex, strings.Repeat("x", 1<<20), d, Annotation)
		p := PlaceIn(root, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))})
		if err := cache.learn(p, data, root); err != nil {
			t.Fatal(err)
		}
		if known, ok := cache.place(d); !ok || known.targets[0].Name() != "org/app/web" {
			t.Fatalf("%+v", known)
		}
	}
	if kept := live() - before; kept > 4<<20 {
		t.Errorf("%d bytes are kept of 32 documents of 1 MiB", kept)
	}
	runtime.KeepAlive(cache)
}

// placesOf adds what manifests and indexes say to nothing: each of "where it was found: size
// targets ... | fallbacks ...", with "." for the root's repository.
func placesOf(t *testing.T, root auth.Repository, says ...string) Places {
	t.Helper()
	at := func(name string) auth.Repository { return clienttest.Repository(t, path.Join(root.String(), name)) }
	var places Places
	for _, one := range says {
		by, rest, _ := strings.Cut(one, ":")
		targets, fallbacks, _ := strings.Cut(rest, "|")
		words := strings.Fields(targets)
		size, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		p := Place{by: at(by), descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size}}
		for _, name := range words[1:] {
			p.targets = append(p.targets, at(name))
		}
		for _, name := range strings.Fields(fallbacks) {
			p.fallbacks = append(p.fallbacks, at(name))
		}
		places = places.add(root, p)
	}
	return places
}

// numbered is a text for each of some numbers.
func numbered(n int, format string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

// TestPlacesOfClaims: a claim is behind what the root's repository says,
// whichever comes first, changes nothing of it, and takes nobody's room.
func TestPlacesOfClaims(t *testing.T) {
	root := clienttest.Repository(t, "reg.test/p")
	for name, test := range map[string]struct{ says, want []string }{
		"in the order of appearance":        {[]string{".: 1 a", ".: 2 b", "evil: 3 x", "web: 4 y"}, []string{".: 1 a", ".: 2 b", "evil: 3 x", "web: 4 y"}},
		"claims first":                      {[]string{"evil: 3 x", "web: 4 y", ".: 1 a", ".: 2 b"}, []string{".: 1 a", ".: 2 b", "evil: 3 x", "web: 4 y"}},
		"a claim of the same":               {[]string{".: 1 a", "evil: 1 x"}, []string{".: 1 a", "evil: 1 x"}},
		"a claim of the same, first":        {[]string{"evil: 1 x", ".: 1 a"}, []string{".: 1 a", "evil: 1 x"}},
		"who says the same twice":           {[]string{".: 1 a", "evil: 1 x", ".: 1 b", "evil: 1 y"}, []string{".: 1 a b", "evil: 1 x y"}},
		"another size from the same source": {[]string{"evil: 1 x", "evil: 2 x"}, []string{"evil: 1 x", "evil: 2 x"}},
		"sizes without end":                 {append(numbered(9, ".: %d a"), "evil: 1 x"), append(numbered(3, ".: %d a"), "evil: 1 x")},
		"sizes without end, of a claim":     {append(numbered(9, "evil: %d x"), "web: 1 y", ".: 1 a"), slices.Concat([]string{".: 1 a"}, numbered(3, "evil: %d x"), []string{"web: 1 y"})},
		"no more sizes, but places":         {append(numbered(9, ".: %d a"), ".: 1 b"), []string{".: 0 a", ".: 1 a b", ".: 2 a"}},
		"own sizes are no claims":           {append(numbered(3, ".: %d a"), "evil: 0 x"), append(numbered(3, ".: %d a"), "evil: 0 x")},
		"repositories without end": {append(numbered(12, "evil/%d: 1 x"), "web: 1 y", ".: 1 a"),
			slices.Concat([]string{".: 1 a"}, numbered(8, "evil/%d: 1 x"), []string{"web: 1 y"})},
		"components without end": {append(numbered(12, "evil%d: 1 x"), "evil0/web: 1 y", ".: 1 a"),
			slices.Concat([]string{".: 1 a"}, numbered(8, "evil%d: 1 x"), []string{"evil0/web: 1 y"})},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range placesOf(t, root, test.says...) {
				text := fmt.Sprintf("%s: %d", cmp.Or(oci.Below(root, p.by), "."), p.descriptor.Size)
				for _, at := range p.targets {
					text += " " + oci.Below(root, at)
				}
				got = append(got, text)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("has  %q\nwant %q", got, test.want)
			}
		})
	}
	if p := PlaceIn(root, ocispec.Descriptor{}); !p.Own(root) || oci.Below(root, p.by) != "" {
		t.Error("what the root's repository says is a claim")
	}
}

// TestPlacesAreAskedInOrder: who is asked, and how often, when others claim
// what they like.
func TestPlacesAreAskedInOrder(t *testing.T) {
	root := clienttest.Repository(t, "reg.test/p")
	denied, broken := &auth.DeniedError{}, errors.New("broken")
	busy := remoteerrors.ErrUnexpectedStatus{StatusCode: http.StatusTooManyRequests}
	for name, test := range map[string]struct {
		says    []string
		plain   bool
		answers map[string]error // others are absences
		want    string           // who is asked, in order
	}{
		"what is known, then claims in turn":     {says: []string{"evil: 1 x1 x2 | x3", "web: 2 y1 y2", ".: 1 a | b"}, want: "a b x1 y1 x2 y2 x3"},
		"no fallback after a denial":             {says: []string{".: 1 a | b", "evil: 1 x | y"}, answers: map[string]error{"a": denied, "x": denied}, want: "a x"},
		"a denied claim is for itself":           {says: []string{"evil: 1 x | y", "web: 1 z | b"}, answers: map[string]error{"x": denied}, want: "x z b"},
		"what is broken ends it":                 {says: []string{".: 1 a b", "evil: 1 x"}, answers: map[string]error{"a": broken}, want: "a"},
		"what is broken of a claim does not":     {says: []string{"evil: 1 x y", "web: 1 z"}, answers: map[string]error{"x": broken}, want: "x z y"},
		"a registry that wants less is left":     {says: []string{"evil: 1 x y", "web: 1 z"}, answers: map[string]error{"x": busy}, want: "x"},
		"one component has eight":                {says: []string{"evil: 1 x0 x1 x2 x3 x4 x5", "evil/a: 1 x6 x7 x8 x9", "web: 1 y"}, want: "x0 y x1 x2 x3 x4 x5 x6 x7"},
		"the same is asked once":                 {says: []string{"evil: 1 x", "evil/a: 1 x", "web: 1 x y", "web/a: 2 x"}, want: "x y x"},
		"the root itself at last":                {says: []string{"evil: 1 x"}, plain: true, answers: map[string]error{"x": denied}, want: "x ."},
		"the root itself, known otherwise":       {says: []string{"evil: 1 x", ".: 1 a | ."}, plain: true, want: "a . x"},
		"the root itself, when a claim had that": {says: []string{"evil: 1 x | ."}, plain: true, want: "x ."},
		"the root itself, when that was denied":  {says: []string{"evil: 1 x | ."}, plain: true, answers: map[string]error{".": denied}, want: "x . ."},
	} {
		t.Run(name, func(t *testing.T) {
			var plain Places
			if test.plain {
				plain = placesOf(t, root, ".: 7 .")
			}
			var asked []string
			_, _, err := placesOf(t, root, test.says...).Try(t.Context(), root, plain, func(_ Place, at auth.Repository) error {
				asked = append(asked, cmp.Or(oci.Below(root, at), "."))
				if err, ok := test.answers[asked[len(asked)-1]]; ok {
					return err
				}
				return errdefs.ErrNotFound
			})
			if got := strings.Join(asked, " "); got != test.want || err == nil {
				t.Errorf("asked %s: %v\nwant  %s", got, err, test.want)
			}
		})
	}
}
