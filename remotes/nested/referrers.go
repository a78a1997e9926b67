package nested

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
	inner, err := f.innerFor(ctx, at, desc.Digest)
	if err != nil {
		return nil, err
	}
	source, ok := inner.(remotes.ReferrersFetcher)
	if !ok {
		return nil, nil
	}
	listed, err := source.FetchReferrers(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	var referrers []ocispec.Descriptor
	for _, d := range listed {
		if !IsDocument(d.MediaType) {
			continue
		}
		if err := f.trail.refer(Place{By: at, Descriptor: d, Targets: []auth.Repository{at}, Depth: s.places[0].Depth + 1, Strict: s.places[0].Strict}); err != nil {
			return nil, fmt.Errorf("referrers of %s@%s: %w", at, desc.Digest, err)
		}
		referrers = append(referrers, d)
	}
	return referrers, nil
}

// ReferrersTag is the tag that stands for a list of referrers (distribution
// spec, "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	algorithm, encoded := d.Algorithm().String(), d.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// refer puts a referrer on the trail. A registry may list what it likes.
func (t *trail) refer(p Place) error {
	if err := t.rule.checkDescriptor(p.Descriptor, true); err != nil {
		return err
	}
	if p.Depth > t.rule.limits.Depth {
		return fmt.Errorf("more than %d steps from the root", t.rule.limits.Depth)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.places[p.Descriptor.Digest]; !known && len(t.places) >= t.rule.limits.Descriptors {
		return fmt.Errorf("more than %d descriptors in one pull", t.rule.limits.Descriptors)
	}
	t.put(p)
	return nil
}

// Carrier returns the manifest under the reference when it carries the root
// (docs/spec.md, section 8).
func (f *Fetcher) Carrier() (ocispec.Descriptor, bool) {
	t := f.trail
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		return ocispec.Descriptor{}, false
	}
	first := t.order[0]
	for _, e := range t.documents[first].entries {
		if e.Carried {
			return t.places[first][0].Descriptor, true
		}
	}
	return ocispec.Descriptor{}, false
}
