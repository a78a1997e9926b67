package nested

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// contentResolver is a resolver that has the content at hand when it has
// resolved a reference, so that it need not be asked for again.
type contentResolver interface {
	ResolveContent(ctx context.Context, ref string) (name string, desc ocispec.Descriptor, data []byte, err error)
}

// Resolve implements remotes.Resolver. It resolves as the wrapped resolver
// does, but for two cases of docs/spec.md, section 8: a reference to a
// carrier resolves to the index that it carries, and one by digest to a blob
// that is a nested index resolves to that index.
func (r *Resolver) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	name, desc, data, err := r.resolveBase(ctx, ref)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	root, err := oci.RepositoryOf(name)
	if err != nil {
		return name, desc, nil // nothing that could be nested; the base's
	}
	l := newLocations(root, r.rule)
	l.hold(desc, data)
	if desc, err = r.resolveRoot(ctx, l, name, desc); err != nil {
		return "", ocispec.Descriptor{}, err
	}
	r.remember(name, l)
	return name, desc, nil
}

func (r *Resolver) resolveBase(ctx context.Context, ref string) (string, ocispec.Descriptor, []byte, error) {
	if base, ok := r.base.(contentResolver); ok {
		return base.ResolveContent(ctx, ref)
	}
	name, desc, err := r.base.Resolve(ctx, ref)
	return name, desc, nil, err
}

// resolveRoot puts the root in the location cache and returns its descriptor.
func (r *Resolver) resolveRoot(ctx context.Context, l *locations, name string, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	f, err := r.fetcher(ctx, name, l)
	if err != nil {
		return desc, err
	}
	switch {
	case images.IsManifestType(desc.MediaType):
		l.start(desc, false)
		carried, err := f.carried(ctx, desc)
		if err != nil || carried == nil {
			return desc, err
		}
		return ocispec.Descriptor{MediaType: carried.MediaType, Digest: carried.Digest, Size: carried.Size}, nil
	case !images.IsIndexType(desc.MediaType) && strings.HasSuffix(name, "@"+desc.Digest.String()) && desc.Size <= r.rule.limits.Manifest:
		index := desc
		index.MediaType = ocispec.MediaTypeImageIndex
		if nested, err := f.isNestedBlob(ctx, index); err != nil || nested {
			return index, err
		}
	}
	l.start(desc, false)
	return desc, nil
}

// carried returns the index that a manifest carries, if it is a carrier.
func (f *Fetcher) carried(ctx context.Context, desc ocispec.Descriptor) (*ocispec.Descriptor, error) {
	if !f.readable(desc) {
		return nil, nil
	}
	p, _ := f.locations.place(desc.Digest)
	err := f.learnFromStore(ctx, p)
	if errdefs.IsNotFound(err) {
		var data []byte
		data, err = f.readAndLearn(ctx, sought{desc: desc, places: Places{p}, known: true})
		f.locations.hold(desc, data) // Fetch will be asked for it
	}
	if err != nil {
		return nil, err
	}
	m, _ := f.locations.parsedOf(desc.Digest)
	for _, e := range m.entries {
		if e.Carried {
			return &e.Descriptor, nil
		}
	}
	return nil, nil
}

// isNestedBlob reports whether a blob is an index with a child namespace, and
// if so begins the location cache with it.
func (f *Fetcher) isNestedBlob(ctx context.Context, index ocispec.Descriptor) (bool, error) {
	p := BlobIn(f.locations.root, index)
	data, ok := f.locations.take(index.Digest)
	var err error
	if !ok {
		data, err = f.readFrom(ctx, p, f.locations.root)
	}
	if err != nil || oci.Verify(index, data) != "" {
		return false, nil // the caller will see the same, as a plain blob
	}
	m, err := f.locations.rule.read(index.MediaType, data, false)
	if err != nil {
		return false, p.invalid(err)
	}
	if m.nested {
		f.locations.hold(index, data)
		f.locations.start(index, true)
	}
	return m.nested, nil
}

// Fetcher implements remotes.Resolver. The fetcher has the methods of
// [Fetcher], and the optional interfaces of containerd that the wrapped one
// has. Without a Resolve of the same reference before, the first content that
// is asked for is taken for the root.
func (r *Resolver) Fetcher(ctx context.Context, ref string) (remotes.Fetcher, error) {
	root, err := oci.RepositoryOf(ref)
	if err != nil {
		return r.base.Fetcher(ctx, ref)
	}
	l, ok := r.locationsOf(ref)
	if !ok {
		l = newLocations(root, r.rule)
	}
	f, err := r.fetcher(ctx, ref, l)
	if err != nil {
		return nil, err
	}
	return f.withInterfaces(), nil
}

// byDigest is the reference that the wrapped resolver gets for content of a
// child repository.
func byDigest(r auth.Repository, d digest.Digest) string { return r.String() + "@" + d.String() }
