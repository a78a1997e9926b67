// Package delta is about copies that leave out what their readers have, such as
// the archive of an update for the other side of an air gap.
//
// Read the files in this order:
//
//   - delta.go: what is left out ([Omitted]), because of an [Earlier] copy, of
//     a [Source];
//   - omit.go: an [Omitter] decides that;
//   - registry.go: a [Registry] has the rest, where such a source is copied to;
//     lacking.go: or lacks it ([Lacking]).
//
// Package bundle stands on it.
package delta

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Earlier is what the readers of a copy have already: content of an earlier
// archive, for example. It may be used by several goroutines at once.
type Earlier interface {
	// Has says what is known of content that they have.
	Has(digest.Digest) (Had, bool)
	// HasIn reports whether they have it as content of a repository.
	HasIn(auth.Repository, digest.Digest) bool
	// Children returns the entries of a manifest that they have. false: nothing
	// but its digest is known, and they have all that it names.
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, bool, error)
}

// Had is content that the readers of a copy have.
type Had struct {
	In string            // the earlier copy, by its name
	At []auth.Repository // some of those whose content it is
}

// Omitted is content that a copy does not get, because its readers have it.
type Omitted struct {
	ocispec.Descriptor
	Had
	Members []auth.Repository // whose content it is in this bundle
}

// Source is one that leaves out content, because its destination should have
// it.
type Source interface {
	// Name is its name for people.
	Name() string
	// LeftOut reports whether content of the bundle is left out, and what is
	// known of it: perhaps only its descriptor.
	LeftOut(ocispec.Descriptor) (Omitted, bool)
	// SetRest says where that content is.
	SetRest(Fetch)
}

// Fetch fetches content of one of the source's repositories from the
// destination.
type Fetch func(context.Context, auth.Repository, ocispec.Descriptor) (io.ReadCloser, error)

// key is content of a repository. Registries tell manifests and blobs apart.
type key struct {
	repository auth.Repository
	digest     digest.Digest
	manifest   bool
}
