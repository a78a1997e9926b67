package nested

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// plan is where the content of a root goes.
type plan struct {
	targets map[digest.Digest][]auth.Repository  // none of what no manifest or index names that could be read
	carried map[digest.Digest]ocispec.Descriptor // indexes, by the carriers that carry them
	blobs   map[digest.Digest]bool               // those indexes, false when they are members by themselves, too
	nested  map[digest.Digest]bool               // indexes that a carrier may carry
	tags    map[kept]string                      // that protect entries of nested indexes
}

// kept is a manifest or index that has to stay in a repository.
type kept struct {
	in     auth.Repository
	digest digest.Digest
}

// read makes the plan, once.
func (p *pusher) read(ctx context.Context) (*plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plan == nil {
		made := planner{pusher: p, protection: Protect(p.digest), to: &plan{
			targets: map[digest.Digest][]auth.Repository{},
			carried: map[digest.Digest]ocispec.Descriptor{},
			blobs:   map[digest.Digest]bool{},
			nested:  map[digest.Digest]bool{},
			tags:    map[kept]string{},
		}}
		if err := made.walk(ctx); err != nil {
			return nil, err
		}
		p.plan = made.to
	}
	return p.plan, nil
}

// planner makes the plan of a pusher.
type planner struct {
	*pusher
	to         *plan
	protection *Protection // of the root, or of the index that it carries
	number     int         // of descriptors, each once for each of its targets
}

// walk follows what is in the store, from the root on.
func (p *planner) walk(ctx context.Context) error {
	places, err := p.roots(ctx)
	for len(places) > 0 && err == nil {
		var below []Place
		below, err = p.expand(ctx, places[0])
		places = append(places[1:], below...)
	}
	return err
}

// roots are the root as an index and as a manifest: read as the other it names
// nothing. There are none when it is too large to be either.
func (p *planner) roots(ctx context.Context) ([]Place, error) {
	info, err := p.resolver.store.ReaderAt(ctx, ocispec.Descriptor{Digest: p.digest})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.digest, err)
	}
	size := info.Size()
	if err := info.Close(); err != nil || size > p.resolver.rule.limits.Manifest {
		return nil, err
	}
	var places []Place
	for _, mediaType := range []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest} {
		places = append(places, PlaceIn(p.root, ocispec.Descriptor{MediaType: mediaType, Digest: p.digest, Size: size}))
	}
	return places, nil
}

// expand plans what a manifest or index points to, and returns the manifests
// and indexes that are to be expanded next.
func (p *planner) expand(ctx context.Context, place Place) (below []Place, err error) {
	data, err := readStored(ctx, p.resolver.store, place.descriptor)
	if errdefs.IsNotFound(err) {
		return nil, nil // not selected
	}
	if err != nil {
		return nil, err
	}
	found, nested, err := p.resolver.rule.Follow(place, data, auth.Repository{})
	if err != nil {
		return nil, err
	}
	if nested { // clients ask for an entry of a plain index as a manifest alone
		p.to.nested[place.descriptor.Digest] = place.strict || place.descriptor.Digest == p.digest
	}
	for _, next := range found {
		p.note(place, next, nested)
		isNew, err := p.add(next)
		if err != nil {
			return nil, err
		}
		if isNew && oci.IsManifestOrIndex(next.descriptor.MediaType) {
			below = append(below, next)
		}
	}
	return below, nil
}

// note notes how content is pushed that a manifest or index at a place points
// to: as a blob, with its carrier, under which tag.
func (p *planner) note(place, next Place, nested bool) {
	d, at := next.descriptor, next.targets[0]
	if listed, known := p.to.blobs[d.Digest]; next.carried {
		p.to.carried[place.descriptor.Digest] = d
		if place.descriptor.Digest == p.digest {
			p.protection = Protect(d.Digest)
		}
		p.to.blobs[d.Digest] = !known || listed
	} else if oci.IsManifestOrIndex(d.MediaType) {
		p.to.blobs[d.Digest] = false
	}
	if nested && next.entry && oci.IsManifestOrIndex(d.MediaType) {
		p.to.tags[kept{at, d.Digest}] = p.protection.Tag(at, d.Digest)
	}
}

// add adds the first target of content to its targets, and reports whether it
// is new.
func (p *planner) add(next Place) (isNew bool, err error) {
	d, at := next.descriptor.Digest, next.targets[0]
	if slices.Contains(p.to.targets[d], at) {
		return false, nil
	}
	if p.number++; next.strict && p.number > p.resolver.rule.limits.Descriptors {
		return false, fmt.Errorf("%s: more than %d descriptors in one push", p.digest, p.number-1)
	}
	p.to.targets[d] = append(p.to.targets[d], at)
	return true, nil
}
