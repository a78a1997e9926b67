package integration

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/integration/bench"
)

// stage is a scene with content, which is made when it is first wanted.
type stage struct {
	*scene
	base  layer
	small []member // of org/app
	made  map[string]bundleAt
}

func newStage(t testing.TB) *stage {
	t.Helper()
	return &stage{scene: startScene(t), base: newLayer(t, "shared", []byte("shared")), made: map[string]bundleAt{}}
}

// once makes a bundle the first time.
func (s *stage) once(build func(t testing.TB) bundleAt, format string, args ...any) func(testing.TB) bundleAt {
	name := fmt.Sprintf(format, args...)
	return func(t testing.TB) bundleAt {
		if _, ok := s.made[name]; !ok {
			s.made[name] = build(t)
		}
		return s.made[name]
	}
}

const smallLayer = 1 << 10

// smallBundle has members with three small layers, one of them shared by all. A larger one has the members of a
// smaller one, too.
func (s *stage) smallBundle(members int) func(testing.TB) bundleAt {
	return s.once(func(t testing.TB) bundleAt {
		if have := len(s.small); have < members {
			more := fleet(t, have, members, s.base, smallLayer)
			s.pushFleet(t, "org/app", "org/app", more)
			s.small = append(s.small, more...)
		}
		return s.pushBundle(t, "org/app", fmt.Sprintf("n%d", members), newBundle(t, s.small[:members]...))
	}, "small %d", members)
}

// deepBundle has 20 members below three levels of indexes: 2 of 2 of 5.
func (s *stage) deepBundle() func(testing.TB) bundleAt {
	return s.once(func(t testing.TB) bundleAt {
		const root = "org/deep"
		push := func(repository string, n node) node {
			s.pushManifest(t, repository, "", n.content)
			s.pushManifest(t, root, "", n.content)
			return n
		}
		var outer []member
		for i := range 2 {
			var inner []member
			middle := fmt.Sprintf("g%d", i)
			for j := range 2 {
				last := fmt.Sprintf("h%d", j)
				at := root + "/" + middle + "/" + last
				leaves := fleet(t, 0, 5, s.base, smallLayer)
				s.pushFleet(t, at, root, leaves)
				inner = append(inner, member{last, push(at, newBundle(t, leaves...))})
			}
			outer = append(outer, member{middle, push(root+"/"+middle, newBundle(t, inner...))})
		}
		return s.pushBundle(t, root, "v1", newBundle(t, outer...))
	}, "deep")
}

// largeBundle has 5 members with a layer of 16 MiB each and one of 32 MiB that they share, which nothing makes smaller.
func (s *stage) largeBundle() func(testing.TB) bundleAt {
	return s.once(func(t testing.TB) bundleAt {
		members := fleet(t, 0, 5, newLayer(t, "shared", randomBlob("", 32<<20).data), 16<<20)
		s.pushFleet(t, "org/large", "org/large", members)
		return s.pushBundle(t, "org/large", "v1", newBundle(t, members...))
	}, "large")
}

// wideIndex has so many entries, of which only one is for this platform.
func (s *stage) wideIndex(entries int) func(testing.TB) bundleAt {
	return s.once(func(t testing.TB) bundleAt {
		parent := fmt.Sprintf("org/wide%d", entries)
		one := fleet(t, 0, 1, s.base, smallLayer)
		s.pushFleet(t, parent, parent, one)
		bundle := newBundle(t, one...)
		descs := []ocispec.Descriptor{one[0].node.desc}
		descs[0].Annotations = map[string]string{childNamespace: one[0].namespace}
		for i := 1; i < entries; i++ {
			name := fmt.Sprintf("other%05d", i)
			descs = append(descs, ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 1000,
				Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}, Annotations: map[string]string{childNamespace: name},
			})
		}
		bundle.content = indexOf(t, descs...).content
		return s.pushBundle(t, parent, "v1", bundle)
	}, "wide %d", entries)
}

// linkBlob is what the link is checked with.
const linkBlob = 64 << 20

// checkLink returns how many bytes in a second a plain GET gets over the link.
func (s *scene) checkLink(t testing.TB, speed bench.Speed) float64 {
	t.Helper()
	blob := randomBlob("", linkBlob)
	s.pushBlob(t, "org/link", blob.desc, bytes.NewReader(blob.data))
	token, err := s.tokens.signer.token("dave", []access{{"repository", "org/link", []string{"pull"}}})
	must(t, err)
	s.link.Set(speed)
	defer s.link.Set(bench.Speed{})
	return s.timedGet(t, "/v2/org/link/blobs/"+blob.desc.Digest.String(), token, linkBlob)
}
