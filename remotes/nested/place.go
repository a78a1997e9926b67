package nested

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Place says where content may be, by what the manifests and indexes said that
// point to it. The zero value is no place; others come from [PlaceIn] and its
// siblings, from [Rule.Follow] and from [PlaceFields], and say of at least one
// repository that it may have the content.
type Place struct {
	by         auth.Repository // where the manifest or index was found that says so
	descriptor ocispec.Descriptor
	targets    []auth.Repository // asked first, in order of appearance
	fallbacks  []auth.Repository // asked when every target answered 404
	depth      int               // steps from the root
	strict     bool              // reached through a nested index
	entry      bool              // an entry of an index
	carried    bool              // an index that is stored as a blob
}

// PlaceIn is the place of content in one repository, which says so itself.
func PlaceIn(in auth.Repository, desc ocispec.Descriptor) Place {
	return Place{by: in, descriptor: desc, targets: []auth.Repository{in}}
}

// BlobIn is [PlaceIn] for an index that may be stored as a blob, which has to be
// read to know whether it is one.
func BlobIn(in auth.Repository, desc ocispec.Descriptor) Place {
	p := PlaceIn(in, desc)
	p.carried = true
	return p
}

// CarriedIn is [PlaceIn] for a nested index that is stored as a blob
// (docs/spec.md, section 8).
func CarriedIn(in auth.Repository, desc ocispec.Descriptor) Place {
	return BlobIn(in, desc).AsStrict()
}

// AsStrict is the place as if it had been reached through a nested index: what
// is there has to obey all of docs/spec.md, section 3.
func (p Place) AsStrict() Place {
	p.strict = true
	return p
}

// As is the place of the same content with what is known of it by now: media
// type, "" for unknown, and size in bytes.
func (p Place) As(mediaType string, size int64) Place {
	p.descriptor.MediaType, p.descriptor.Size = mediaType, size
	return p
}

// Detached is the place with what is needed to fetch the content, in strings of
// its own: those of a manifest or index share one copy of it.
func (p Place) Detached() Place {
	d := p.descriptor
	p.descriptor = ocispec.Descriptor{MediaType: strings.Clone(d.MediaType), Digest: digest.Digest(strings.Clone(string(d.Digest))), Size: d.Size}
	return p
}

// PlaceFields are the parts of a [Place], for a caller that keeps places
// elsewhere.
type PlaceFields struct {
	By         auth.Repository // where the manifest or index was found that says so
	Descriptor ocispec.Descriptor
	Targets    []auth.Repository // asked first, in order of appearance; at least one
	Fallbacks  []auth.Repository // asked when every target answered 404
	Depth      int               // steps from the root
	Strict     bool              // reached through a nested index
	Entry      bool              // an entry of an index
	Carried    bool              // an index that is stored as a blob
}

// errFields is of fields that are no place.
var errFields = fmt.Errorf("no place: it lacks a repository, or they are of several registries: %w", errdefs.ErrInvalidArgument)

// Place returns the place of these parts. It is an error when there are no
// targets, a repository is none, or they are not all of one registry.
func (f PlaceFields) Place() (Place, error) {
	isElsewhere := func(r auth.Repository) bool { return r.Host() != f.By.Host() }
	if f.By == (auth.Repository{}) || len(f.Targets) == 0 || f.Depth < 0 || slices.ContainsFunc(f.Targets, isElsewhere) || slices.ContainsFunc(f.Fallbacks, isElsewhere) {
		return Place{}, errFields
	}
	return Place{
		by:         f.By,
		descriptor: f.Descriptor,
		targets:    slices.Clone(f.Targets),
		fallbacks:  slices.Clone(f.Fallbacks),
		depth:      f.Depth,
		strict:     f.Strict,
		entry:      f.Entry,
		carried:    f.Carried,
	}, nil
}

// Fields returns the parts of the place. They are the caller's.
func (p Place) Fields() PlaceFields {
	return PlaceFields{
		By:         p.by,
		Descriptor: p.descriptor,
		Targets:    slices.Clone(p.targets),
		Fallbacks:  slices.Clone(p.fallbacks),
		Depth:      p.depth,
		Strict:     p.strict,
		Entry:      p.entry,
		Carried:    p.carried,
	}
}

// By is the repository of the manifest or index that says so.
func (p Place) By() auth.Repository { return p.by }

// Descriptor is what is known of the content.
func (p Place) Descriptor() ocispec.Descriptor { return p.descriptor }

// Strict reports whether the content was reached through a nested index.
func (p Place) Strict() bool { return p.strict }

// Entry reports whether the content is an entry of an index.
func (p Place) Entry() bool { return p.entry }

// Carried reports whether the content is an index that is stored as a blob.
func (p Place) Carried() bool { return p.carried }

// First is the repository that is asked first; that of the zero value is none.
func (p Place) First() auth.Repository {
	if len(p.targets) == 0 {
		return auth.Repository{}
	}
	return p.targets[0]
}

// merge adds the candidates of another place of the same content after the
// place's own, as long as there is room.
func (p Place) merge(other Place) Place {
	p.targets = union(p.targets, other.targets)
	p.fallbacks = union(p.fallbacks, other.fallbacks)
	p.strict = p.strict || other.strict
	return p
}

// Speaks is the repository for which a manifest or index at the place speaks:
// the first of its targets that is below no other.
func (p Place) Speaks() auth.Repository {
	if len(p.targets) == 0 {
		return auth.Repository{}
	}
	return slices.MinFunc(p.targets, func(a, b auth.Repository) int { return strings.Count(a.Name(), "/") - strings.Count(b.Name(), "/") })
}

// MediaTypes are the media types to ask with, one after the other. docker's
// fetcher asks for a manifest or index under /manifests/ and for everything
// else under /blobs/, where strict registries keep nested indexes
// (docs/spec.md, section 8).
func (p Place) MediaTypes() []string {
	const blob = "application/octet-stream"
	switch {
	case p.carried:
		return []string{blob}
	case p.strict && p.entry && images.IsIndexType(p.descriptor.MediaType):
		return []string{p.descriptor.MediaType, blob}
	case p.strict && p.entry && !oci.IsManifestOrIndex(p.descriptor.MediaType):
		return []string{p.descriptor.MediaType, ocispec.MediaTypeImageManifest}
	}
	return []string{p.descriptor.MediaType}
}

// errNowhere is of a place without candidates.
var errNowhere = fmt.Errorf("no repository to ask: %w", errdefs.ErrNotFound)

// Try asks the candidates for content in their order (docs/spec.md, section 4)
// until one answers, and returns that one. The fallbacks are asked only when
// every target answered 404 (errdefs.ErrNotFound); whatever is neither an
// absence nor a denial ends the search. root is the repository of the root.
// Errors are of type [Error], or the only answer itself when that is the
// root's.
func (p Place) Try(root auth.Repository, try func(auth.Repository) error) (auth.Repository, error) {
	p.by = root
	_, served, err := Places{p}.Try(context.Background(), root, nil, func(_ Place, candidate auth.Repository) error { return try(candidate) })
	return served, err
}

// maxOrigin is enough for repository, tag and digest of [OriginAnnotation].
const maxOrigin = 768

// originOf is the origin that a descriptor states, in memory of its own.
func originOf(d ocispec.Descriptor) string {
	if origin := d.Annotations[OriginAnnotation]; len(origin) <= maxOrigin {
		return strings.Clone(origin)
	}
	return ""
}

// smallData is what of a descriptor's data is worth keeping: empty configs.
const smallData = 64

// lean is a descriptor without what may be large and is not needed to fetch
// the content: a pull keeps the descriptors of all its manifests and indexes.
func lean(d ocispec.Descriptor) ocispec.Descriptor {
	kept := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
	if len(d.Data) <= smallData {
		kept.Data = d.Data
	}
	if p := d.Platform; p != nil {
		kept.Platform = &ocispec.Platform{Architecture: p.Architecture, OS: p.OS, OSVersion: p.OSVersion, Variant: p.Variant}
	}
	return kept
}
