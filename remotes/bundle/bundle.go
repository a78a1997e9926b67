package bundle

import (
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
)

// Source is what a bundle is read from: the fetcher of a [nested.Resolver],
// with the methods of a [nested.Fetcher].
type Source interface {
	remotes.Fetcher
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Members(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Found(digest.Digest) (auth.Repository, bool)
	FetchFrom(context.Context, ocispec.Descriptor, auth.Repository, ...auth.Repository) (io.ReadCloser, error)
	Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
	Attached(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
	Try(context.Context, ocispec.Descriptor, func(auth.Repository) error) (auth.Repository, error)
	Carrier() (ocispec.Descriptor, bool)
}

var _ Source = (*nested.Fetcher)(nil)

// Bundle is an open bundle, or any other image or artifact. It may be used by
// several goroutines at once.
type Bundle struct {
	Fetcher    Source
	Repository auth.Repository    // the root's
	Root       ocispec.Descriptor // for a carrier, the index in it
	// Expected, when given, says what is wrong with what a walk has found. It is
	// asked before any blob is fetched, and its error ends the walk.
	Expected func(*Walked) error
	Delta    delta.Source // nil: its source leaves out nothing
}

// Open resolves a reference and returns the bundle that it names. Errors are those
// of the resolver.
func Open(ctx context.Context, resolver *nested.Resolver, ref auth.Reference) (*Bundle, error) {
	name, root, err := resolver.Resolve(ctx, ref.String())
	if err != nil {
		return nil, err
	}
	f, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Bundle{Fetcher: f.(Source), Repository: ref.Repository(), Root: root}, nil
}

// Found returns the repository that served a node, or else the one of its path.
func (b *Bundle) Found(n *Node) auth.Repository {
	if r, ok := b.Fetcher.Found(n.Digest); ok {
		return r
	}
	return n.Repository
}

// ReadRoot returns the root's bytes, verified.
func (b *Bundle) ReadRoot(ctx context.Context) ([]byte, error) {
	return FetchAll(ctx, b.Fetcher, b.Root)
}
