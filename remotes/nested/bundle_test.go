package nested_test

import (
	"fmt"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestNothingOfABundleIsAskedForTwice counts the requests of a pull. Nothing is asked for twice.
func TestNothingOfABundleIsAskedForTwice(t *testing.T) {
	const members = 20
	s := newScene(t, nested.Options{})
	var entries []ocispec.Descriptor
	want, digests := clienttest.TagGet(parent), map[string]bool{}
	var manifests int64
	for i := range members {
		child := fmt.Sprintf("image-%d", i)
		repository := parent + "/" + child
		member := clienttest.PutImage(s.registry, repository, "shared by all", child+" 1", child+" 2")
		entries = append(entries, registrytest.Member(member.Descriptor, child))
		manifests++
		for _, d := range append([]ocispec.Descriptor{member.Descriptor, member.Config}, member.Layers...) {
			if !digests[d.Digest.String()] && d.Digest != member.Layers[0].Digest {
				want = append(want, clienttest.Gets(repository, 200, d)...)
			}
			digests[d.Digest.String()] = true
		}
	}
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(entries...))))

	// The shared layer is asked for in whichever member came first.
	shared := clienttest.PutImage(s.registry, "elsewhere", "shared by all").Layers[0].Digest.Encoded()[:12]
	got := clienttest.Asked(s.registry)
	own := slices.DeleteFunc(slices.Clone(got), func(l string) bool { return slices.Contains(want, l) })
	if len(own) != 1 || len(got) != len(want)+1 || own[0][len(own[0])-16:] != shared+" 200" {
		t.Errorf("asked %d times, want %d; besides what is wanted:\n%q", len(got), len(want)+1, own)
	}

	counts := map[string][2]int{
		"tokens":     {s.registry.Count(registrytest.Of(registrytest.KindToken)), members + 1},
		"challenges": {s.registry.Count(func(q registrytest.Request) bool { return q.Status == 401 }), 1},
		"HEADs":      {s.registry.Count(registrytest.Method("HEAD")), 0},
	}
	for what, c := range counts {
		if c[0] != c[1] {
			t.Errorf("%d %s, want %d", c[0], what, c[1])
		}
	}
	// One pool: fewer connections than requests by far. Members are fetched
	// all at once here, where a runtime fetches a few at a time.
	if n := s.registry.Connections(); n > 64+members {
		t.Errorf("%d connections", n)
	}
	s.wantMetrics(manifests+1, int64(len(digests))-manifests)
}

// wantMetrics compares the counters with the registry's own log.
func (s *scene) wantMetrics(manifests, blobs int64) {
	s.t.Helper()
	if got := s.metrics.Manifests.Load(); got != manifests {
		s.t.Errorf("%d requests for manifests were counted, want %d", got, manifests)
	}
	if got := s.metrics.Blobs.Load(); got != blobs {
		s.t.Errorf("%d requests for blobs were counted, want %d", got, blobs)
	}
	tokens := int64(s.registry.Count(registrytest.Of(registrytest.KindToken)))
	if got := s.metrics.Tokens.Load(); got != tokens {
		s.t.Errorf("%d tokens were counted, want %d", got, tokens)
	}
	if s.metrics.Challenges.Load() != 1 || s.metrics.Bytes.Load() == 0 {
		s.t.Errorf("%d challenges and %d bytes were counted", s.metrics.Challenges.Load(), s.metrics.Bytes.Load())
	}
}

// TestMembersAreAskedForAtHome is about what belongs to a member: manifest,
// config and layers are asked for in the member's repository and nowhere
// else, and each repository has a token of its own.
func TestMembersAreAskedForAtHome(t *testing.T) {
	s := newScene(t, nested.Options{})
	web := clienttest.PutImage(s.registry, parent+"/web", "w1", "w2")
	deep := clienttest.PutImage(s.registry, parent+"/a/b", "d1")
	own := clienttest.PutImage(s.registry, parent, "o1")
	root := s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(web.Descriptor, "web"), registrytest.Member(deep.Descriptor, "a/b"), own.Descriptor))
	clienttest.NoError(t, s.pull(root))
	s.want(clienttest.TagGet(parent), own.All(parent), web.All(parent+"/web"), deep.All(parent+"/a/b"))
	for _, q := range s.registry.Log() {
		if q.Scheme == "Bearer" && !slices.Equal(q.Scopes, []string{"repository:" + q.Repository + ":pull"}) {
			t.Errorf("%s with a token for %q", q.Repository, q.Scopes)
		}
	}
	if got, want := s.source.names(), []string{parent, parent + "/a/b", parent + "/web"}; !slices.Equal(got, want) {
		t.Errorf("credentials were looked up for %q, want %q", got, want)
	}
}
