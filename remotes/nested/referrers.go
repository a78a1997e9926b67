package nested

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Referrers returns the manifests and indexes that refer in a repository to one
// of this pull: by docs/spec.md, section 4, that is where it was found. They are
// part of the pull from then on. Errors: as for Fetch.
func (f *Fetcher) Referrers(ctx context.Context, desc ocispec.Descriptor, at auth.Repository) ([]ocispec.Descriptor, error) {
	s, err := f.placeOf(ctx, desc)
	if err != nil {
		return nil, err
	}
	listed, err := f.listReferrers(ctx, desc.Digest, at)
	if err != nil {
		return nil, err
	}
	place := func(d ocispec.Descriptor) Place { return placeOfReferrer(s, at, d) }
	for _, d := range listed { // what is left out here would be a lost signature
		if err = Unfollowed(at, d); err != nil {
			return nil, fmt.Errorf("referrers of %s@%s: %w", at, desc.Digest, err)
		}
	}
	listed = slices.DeleteFunc(listed, func(d ocispec.Descriptor) bool { return !oci.IsManifestOrIndex(d.MediaType) })
	for _, d := range listed { // a registry may list what it likes
		if err = f.locations.rule.checkDescriptor(d, true); err != nil {
			return nil, fmt.Errorf("referrers of %s@%s: %w", at, desc.Digest, err)
		}
	}
	referrers, err := oci.SelectReferrers(ctx, listed, func(ctx context.Context, d ocispec.Descriptor) (bool, error) {
		return f.refers(ctx, place(d), desc.Digest)
	})
	for _, d := range referrers {
		if refused := f.locations.refer(place(d)); refused != nil {
			return nil, fmt.Errorf("referrers of %s@%s: %w", at, desc.Digest, refused)
		}
	}
	return referrers, err
}

// placeOfReferrer is where something is that refers to content.
func placeOfReferrer(s sought, at auth.Repository, d ocispec.Descriptor) Place {
	p := PlaceIn(at, d)
	p.depth, p.strict = s.places[0].depth+1, s.places[0].strict
	return p
}

// Attached returns the manifests and indexes that tags of a repository attach to
// content of this pull, as cosign 2 does it with signatures: each with its tag
// as the annotation org.opencontainers.image.ref.name. They are part of the pull
// from then on. Errors: as for Fetch.
func (f *Fetcher) Attached(ctx context.Context, desc ocispec.Descriptor, at auth.Repository) ([]ocispec.Descriptor, error) {
	s, err := f.placeOf(ctx, desc)
	if err != nil {
		return nil, err
	}
	inner, err := f.innerFor(ctx, at, desc.Digest)
	source, ok := inner.(interface {
		ListAttached(context.Context, digest.Digest) ([]ocispec.Descriptor, error)
	})
	if err != nil || !ok {
		return nil, err
	}
	attached, err := source.ListAttached(ctx, desc.Digest)
	for i, d := range attached {
		if err == nil {
			err = f.locations.rule.checkDescriptor(d, true)
		}
		data := d.Data
		if attached[i].Data, d.Data, d.Annotations = nil, nil, nil; err == nil {
			err = f.locations.refer(placeOfReferrer(s, at, d))
		}
		if err != nil {
			return nil, fmt.Errorf("attached to %s@%s: %w", at, desc.Digest, err)
		}
		if data != nil {
			f.found(d.Digest, at)
			f.locations.hold(d, data)
		}
	}
	return attached, err
}

// referrersLister is a fetcher that lists whatever a registry says refers to
// content, and leaves it to the caller to look whether it does.
type referrersLister interface {
	ListReferrers(context.Context, digest.Digest) ([]ocispec.Descriptor, error)
}

// listReferrers lists what a repository says refers to content.
func (f *Fetcher) listReferrers(ctx context.Context, d digest.Digest, at auth.Repository) ([]ocispec.Descriptor, error) {
	inner, err := f.innerFor(ctx, at, d)
	if err != nil {
		return nil, err
	}
	switch source := inner.(type) {
	case referrersLister: // its tag's list is as good as any: all is looked at
		return source.ListReferrers(ctx, d)
	case remotes.ReferrersFetcher:
		return source.FetchReferrers(ctx, d)
	}
	return nil, nil
}

// refers reports whether a listed manifest states the subject itself: a list,
// and a tag that happens to look like one, may say what they like. It is kept
// for what fetches it next.
func (f *Fetcher) refers(ctx context.Context, p Place, subject digest.Digest) (bool, error) {
	d, at := p.descriptor, p.targets[0]
	data, ok := f.locations.heldBytes(d.Digest)
	if !ok {
		var err error
		if data, err = f.readFrom(ctx, p, at); err != nil {
			return false, err
		}
	}
	if reason := oci.Verify(d, data); reason != "" {
		return false, &VerifyError{at, d.Digest, reason}
	}
	if !oci.Refers(data, subject) {
		return false, nil
	}
	if _, ok := f.Found(d.Digest); !ok {
		f.found(d.Digest, at)
	}
	f.locations.hold(d, data)
	return true, nil
}

// refer puts a referrer in the location cache.
func (l *locations) refer(p Place) error {
	if p.depth > l.rule.limits.Depth {
		return fmt.Errorf("more than %d steps from the root", l.rule.limits.Depth)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.checkRoom(p)
	if err == nil {
		l.put(p)
	}
	return err
}

// Carrier returns the manifest under the reference when it carries the root
// (docs/spec.md, section 8).
func (f *Fetcher) Carrier() (ocispec.Descriptor, bool) {
	l := f.locations
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		return ocispec.Descriptor{}, false
	}
	first := l.order[0]
	for _, e := range l.parsed[first].entries {
		if e.Carried {
			return l.places[first][0].descriptor, true
		}
	}
	return ocispec.Descriptor{}, false
}
