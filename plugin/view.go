package plugin

import (
	"context"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/records"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// view is the caller's destination as one transfer sees it: it has the caller's
// platforms and snapshotters, members are removed from indexes, and what
// belongs to a nested bundle is recorded later.
type view struct {
	*pull
	in       auth.Repository // the repository of this transfer's root, by its path
	isMember bool
	name     string // of a member

	lock    sync.Mutex
	nested  bool // it has members, whether they are pulled or not
	members []member
}

// Store implements [transfer.ImageStorer].
func (v *view) Store(ctx context.Context, desc ocispec.Descriptor, store images.Store) ([]images.Image, error) {
	switch {
	case v.isMember:
		return []images.Image{{Name: v.name, Target: desc}}, nil // what containerd reports
	case v.nested:
		v.images = store
		return nil, nil
	}
	stored, err := v.dst.Store(ctx, desc, store)
	if err != nil || len(stored) == 0 || !v.settings.Records(v.namespace) {
		return stored, err
	}
	// The name may have been a bundle's until now.
	b := records.Bundle{Images: store, Name: stored[0].Name}
	return stored, b.Release(ctx, func(string) bool { return false })
}

// UnpackPlatforms implements [transfer.ImageUnpacker].
func (v *view) UnpackPlatforms() []transfer.UnpackConfiguration {
	if unpacker, ok := v.dst.(transfer.ImageUnpacker); ok {
		return unpacker.UnpackPlatforms()
	}
	return nil
}

// platformOf is the platform of a destination; nil for all.
func platformOf(dst transfer.ImageStorer) platforms.MatchComparer {
	if getter, ok := dst.(transfer.ImagePlatformsGetter); ok && len(getter.Platforms()) > 0 {
		return platforms.Ordered(getter.Platforms()...)
	}
	return nil
}

// ImageFilter implements [transfer.ImageFilterer].
func (v *view) ImageFilter(handler images.HandlerFunc, store content.Store) images.HandlerFunc {
	if filterer, ok := v.dst.(transfer.ImageFilterer); ok {
		handler = filterer.ImageFilter(handler, store)
	}
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := handler(ctx, desc)
		if err != nil || !images.IsIndexType(desc.MediaType) {
			return children, err
		}
		entries, err := v.fetcher.Members(ctx, desc)
		if err != nil || len(entries) == 0 {
			return children, err
		}
		if v.settings.Members == "platform" && v.platform != nil {
			only := func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return children, nil }
			if children, err = images.LimitManifests(only, v.platform, 1)(ctx, desc); err != nil {
				return nil, err
			}
		}
		return v.removeMembers(children, entries)
	}
}

// removeMembers removes the members from the children of an index.
func (v *view) removeMembers(children []ocispec.Descriptor, entries []nested.Entry) ([]ocispec.Descriptor, error) {
	v.lock.Lock()
	defer v.lock.Unlock()
	v.nested = true
	fits, taken := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, c := range children {
		fits[c.Digest] = true
	}
	for _, e := range entries {
		target, err := e.Child.In(v.in)
		if err != nil {
			return nil, err
		}
		if !fits[e.Digest] {
			v.skip(target)
			continue
		}
		taken[e.Digest] = true
		v.members = append(v.members, member{e.Descriptor, target})
	}
	return slices.DeleteFunc(children, func(c ocispec.Descriptor) bool { return taken[c.Digest] }), nil
}

// skip records a member that is not pulled.
func (p *pull) skip(target auth.Repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipped[target.String()] = true
}
