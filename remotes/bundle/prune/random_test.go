package prune_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/nested"
)

// random is a scene that grows at random.
type random struct {
	*scene
	*rand.Rand
	made int
	in   map[string][]ocispec.Descriptor // images and indexes, by repository
}

var randomRepositories = []string{"org/app", "org/app/web", "org/app/data", "org/app/data/db", "org/app/data/db/deep"}

func (s *random) oneOf(repository string) (ocispec.Descriptor, bool) {
	all := s.in[repository]
	if len(all) == 0 {
		return ocispec.Descriptor{}, false
	}
	return all[s.IntN(len(all))], true
}

// addImage adds an image for one repository: there, in the parent, or both.
func (s *random) addImage() {
	s.made++
	at := randomRepositories[1+s.IntN(len(randomRepositories)-1)]
	where := at
	if s.IntN(4) == 0 {
		where = "org/app"
	}
	d := s.image(where, fmt.Sprint(s.made), "")
	s.in[at] = append(s.in[at], d)
	if s.IntN(3) == 0 {
		s.image("org/app", fmt.Sprint(s.made), "")
	}
	if s.IntN(4) == 0 {
		s.Tag(where, fmt.Sprintf("user%d", s.made), d.Digest)
	}
	if s.IntN(3) == 0 {
		s.Referrer(where, d, "application/vnd.test.signature")
	}
}

// addIndex adds an index of what is below a repository: as it is, or carried; with a tag or without.
func (s *random) addIndex(at string, tags ...string) {
	s.made++
	var index ocispec.Index
	index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
	index.Annotations = map[string]string{"made": fmt.Sprint(s.made)}
	members := map[string]ocispec.Descriptor{}
	for _, below := range randomRepositories {
		if len(below) <= len(at) || below[:len(at)+1] != at+"/" {
			continue
		}
		if d, ok := s.oneOf(below); ok && s.IntN(3) > 0 {
			name := below[len(at)+1:]
			members[name], index.Manifests = d, append(index.Manifests, registrytest.Member(d, name))
		}
	}
	if len(members) == 0 {
		return
	}
	body := clienttest.Encode(index)
	d := ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if s.IntN(2) == 0 && at == "org/app" {
		carrier, data, err := nested.NewCarrier(s.PutBlob(at, index.MediaType, body), body)
		clienttest.NoError(s.t, err)
		s.PutBlob(at, ocispec.MediaTypeEmptyJSON, []byte("{}"))
		s.Put(at, carrier.MediaType, data, tags...)
	} else {
		s.Put(at, index.MediaType, body, tags...)
		s.in[at] = append(s.in[at], d)
	}
	if s.IntN(3) > 0 {
		for name, m := range members {
			if !s.has(at+"/"+name, m) {
				continue
			}
			s.Tag(at+"/"+name, "nested-"+d.Digest.Encoded()[:12], m.Digest)
		}
	}
}

// walk is everything that a reference leads to; nil when something is missing.
func (s *random) walk(ref string) map[string]bool {
	b, err := bundle.Open(s.t.Context(), nested.New(s.client, nested.Options{Complete: true}), clienttest.Must(auth.ParseReference(s.Host()+"/"+ref)))
	if err != nil {
		return nil
	}
	walked, err := b.Walk(s.t.Context(), bundle.Options{Referrers: true}, bundle.Visitor{})
	if err != nil {
		return nil
	}
	all := map[string]bool{}
	for _, n := range walked.Root.AllWithReferrers() {
		all[n.Digest.String()] = true
	}
	return all
}

func (s *random) all() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, repository := range randomRepositories {
		tags, _ := s.client.Tags(s.t.Context(), clienttest.Repository(s.t, s.Host()+"/"+repository))
		for _, tag := range tags {
			all[repository+":"+tag] = s.walk(repository + ":" + tag)
		}
	}
	return all
}

// TestAnything: of whatever there is, each tag that stays leads to what it led to, and only tags that protect go with releases.
func TestAnything(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10 // `make test-all` has them all
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &random{scene: newScene(t), Rand: rand.New(rand.NewPCG(seed, 0)), in: map[string][]ocispec.Descriptor{}}
			for range 8 {
				s.addImage()
			}
			for i := range 8 {
				switch at := randomRepositories[s.IntN(4)]; {
				case at == "org/app":
					s.addIndex(at, fmt.Sprintf("v%d", i))
				case s.IntN(2) == 0:
					s.addIndex(at, fmt.Sprintf("build%d", i))
				default:
					s.addIndex(at)
				}
			}
			s.addIndex("org/app", "v100")
			before := s.all()
			plan := s.prune(prune.Options{Keep: 1})
			after := s.all()
			for _, r := range plan.Removed {
				for _, tag := range r.Tags {
					delete(before, "org/app:"+tag)
				}
			}
			for ref, led := range before {
				now, there := after[ref]
				switch {
				case !there && len(ref) > 19 && ref[len(ref)-19:len(ref)-12] == "nested-":
				case !there:
					t.Errorf("%s has gone", ref)
				case !maps.Equal(led, now):
					t.Errorf("%s leads to %d, not %d", ref, len(now), len(led))
				}
			}
			t.Logf("%d tags, %d removed, %d deletions", len(before), len(plan.Removed), len(plan.Deletions))
		})
	}
}
