package bundle_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// opened opens a bundle of a registry that is published to.
func opened(t *testing.T, r *registrytest.Registry, ref string) *bundle.Bundle {
	t.Helper()
	client := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	b, err := bundle.Open(t.Context(), nested.New(client, nested.Options{}), reference(r.Host()+"/"+ref))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// visits counts what a visitor was called for.
type visits struct {
	mu      sync.Mutex
	fetched map[digest.Digest]int
	done    map[string]int // by namespace and digest
}

func (v *visits) visitor(b *bundle.Bundle) bundle.Visitor {
	v.fetched, v.done = map[digest.Digest]int{}, map[string]int{}
	return bundle.Visitor{
		Fetch: func(_ context.Context, n *bundle.Node) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.fetched[n.Digest]++
			return nil
		},
		Done: func(_ context.Context, n *bundle.Node) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.done[n.Namespace+"@"+n.Digest.String()]++
			return nil
		},
	}
}

// shared is a registry with org/app:v1, in which the members a and b are one manifest with one layer.
func shared(t *testing.T) (*registrytest.Registry, ocispec.Descriptor) {
	t.Helper()
	r := clienttest.NewRegistry(t)
	layer := registrytest.TarLayer(map[string]string{"file": "text"})
	member := r.Image("org/app/a", layer)
	r.Image("org/app/b", layer)
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(member, "a"), registrytest.Member(member, "b")).Digest)
	return r, member
}

// TestWalkFetchesContentOnce: content is fetched once however many paths lead to it, and each path is visited.
func TestWalkFetchesContentOnce(t *testing.T) {
	r, member := shared(t)
	b, v := opened(t, r, "org/app:v1"), new(visits)
	walked, err := b.Walk(t.Context(), bundle.Options{Blobs: true}, v.visitor(b))
	if err != nil || len(walked.MemberNodes()) != 2 {
		t.Fatalf("%v, %+v", err, walked)
	}
	if len(v.fetched) != 4 || len(v.done) != 7 { // index, manifest, config and layer; the last three twice
		t.Errorf("fetched %d, visited %d", len(v.fetched), len(v.done))
	}
	for d, times := range v.fetched {
		if times != 1 {
			t.Errorf("%s was fetched %d times", d, times)
		}
	}
	if v.done["a@"+member.Digest.String()] != 1 || v.done["b@"+member.Digest.String()] != 1 {
		t.Errorf("visited %v", v.done)
	}
}

// TestWalkFindsMembersBeforeBlobs: a member that is not there is an error before any config or layer is fetched, which says
// what there is, and comes with what was found.
func TestWalkFindsMembersBeforeBlobs(t *testing.T) {
	r, member := shared(t)
	b, v := opened(t, r, "org/app:v1"), new(visits)
	selection := bundle.Selection{Members: []string{"a", "nothing"}}
	_, err := b.Walk(t.Context(), bundle.Options{Selection: selection, Blobs: true}, v.visitor(b))
	var nothing bundle.MissingError
	if !errors.As(err, &nothing) || len(v.fetched) != 2 || v.fetched[member.Digest] != 1 || len(v.done) != 0 {
		t.Errorf("%v; fetched %v, visited %v", err, v.fetched, v.done)
	}
	walked, err := b.Walk(t.Context(), bundle.Options{Selection: selection}, bundle.Visitor{})
	if !errors.As(err, &nothing) || walked == nil || len(walked.MemberNodes()) != 1 || len(walked.Unselected) != 1 || walked.Unselected[0] != "b linux/amd64" {
		t.Errorf("%v: %+v", err, walked)
	}
}

// TestWalkEndsWithTheFirstFailure: an error of a visitor is the walk's, and others are not told in its place.
func TestWalkEndsWithTheFirstFailure(t *testing.T) {
	r, member := shared(t)
	b := opened(t, r, "org/app:v1")
	broken := errors.New("broken")
	_, err := b.Walk(t.Context(), bundle.Options{Blobs: true}, bundle.Visitor{Fetch: func(ctx context.Context, n *bundle.Node) error {
		if n.Digest == member.Digest {
			return broken
		}
		return ctx.Err()
	}})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestSparseWalk: members that are not there are left out of a sparse walk, and are an error of another that says so.
func TestSparseWalk(t *testing.T) {
	r, _ := shared(t)
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4}
	here := r.Image("org/app/a", registrytest.TarLayer(nil))
	r.Tag("org/app", "v2", r.Index("org/app", registrytest.Member(here, "a"), registrytest.Member(gone, "gone")).Digest)
	b := opened(t, r, "org/app:v2")
	walked, err := b.Walk(t.Context(), bundle.Options{Sparse: true}, bundle.Visitor{})
	if err != nil || len(walked.MemberNodes()) != 1 || len(walked.Missing()) != 1 || walked.Missing()[0].Namespace != "gone" {
		t.Errorf("%v: %+v", err, walked)
	}
	_, err = b.Walk(t.Context(), bundle.Options{}, bundle.Visitor{})
	if avoidable := new(bundle.AvoidableError); !errors.As(err, &avoidable) || avoidable.By != bundle.BySparse || !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}
