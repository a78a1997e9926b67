package bundle

import (
	"context"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Options say how far a walk leads. The zero value leads to every manifest and
// index of a bundle.
type Options struct {
	Selection
	// Blobs leads to configs and layers, too. Where members are selected, the
	// manifests and indexes are walked to first, so that a member that is not there
	// is found before any blob is brought.
	Blobs bool
	// Referrers leads to what refers to manifests and indexes, too.
	Referrers bool
	// Carrier leads to the manifest that carried the root, too, after all else,
	// and with Referrers to what refers to that.
	Carrier bool
	// Sparse leaves out entries of indexes that are not there.
	Sparse bool
	// OmitNonDistributable leaves out layers that are not to be distributed.
	OmitNonDistributable bool
	// Concurrent is how many large blobs are brought at once; eight small requests
	// count as one. 0 is [DefaultConcurrent].
	Concurrent int
}

// DefaultConcurrent is as many as is polite to a registry, and enough for its
// bandwidth.
const DefaultConcurrent = 8

// Visitor is what a walk does on its way. Each function may be nil, and is
// called by several goroutines at once; an error from one ends the walk.
type Visitor struct {
	// Fetch brings a node's content, once for each digest, before what is below.
	// By default manifests and indexes are read.
	Fetch func(context.Context, *Node) error
	// Children lists what a manifest or index that was fetched points to. By
	// default the bundle's fetcher says it.
	Children func(context.Context, *Node) ([]nested.Entry, error)
	// Home says in which repository a manifest is to be taken to be, with its
	// config and layers. By default that is where it is by its path.
	Home func(context.Context, *Node) (auth.Repository, error)
	// Done is called for a node when it was for all that is below it. The node of
	// a carrier has become that of the index that it carries.
	Done func(context.Context, *Node) error
}

// fill sets what was not given.
func (v Visitor) fill(b *Bundle) Visitor {
	if v.Children == nil {
		v.Children = func(ctx context.Context, n *Node) ([]nested.Entry, error) {
			return b.Fetcher.Children(ctx, n.Descriptor)
		}
	}
	if v.Fetch == nil {
		v.Fetch = func(ctx context.Context, n *Node) error {
			if !n.isManifestOrIndex() {
				return nil
			}
			_, err := v.Children(ctx, n)
			return err
		}
	}
	if v.Home == nil {
		v.Home = func(_ context.Context, n *Node) (auth.Repository, error) { return n.Repository, nil }
	}
	if v.Done == nil {
		v.Done = doNothing
	}
	return v
}

func doNothing(context.Context, *Node) error { return nil }
