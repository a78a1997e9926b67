package bundle

import (
	"context"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Options say how far a walk goes. The zero value reaches every manifest and
// index of a bundle.
type Options struct {
	Selection
	// Blobs includes configs and layers. Where members are selected or expected,
	// the walk reads the manifests and indexes first, so that a missing member is
	// found before any blob is fetched.
	Blobs bool
	// Referrers includes what refers to manifests and indexes.
	Referrers bool
	// Attached includes, with Referrers, what tags such as sha256-….sig attach to
	// them. Copies and pulls set it.
	Attached bool
	// Carrier includes the manifest that carried the root, after everything
	// else, and with Referrers what refers to that.
	Carrier bool
	// Sparse leaves out entries of indexes whose content is missing.
	Sparse bool
	// OmitNonDistributable leaves out layers that must not be distributed.
	OmitNonDistributable bool
	// Concurrent is how many large blobs are transferred at once; eight small
	// requests count as one. 0 is [DefaultConcurrent].
	Concurrent int
}

// DefaultConcurrent is polite to a registry, and enough for its bandwidth.
const DefaultConcurrent = 8

// Visitor is what a walk does at each node. Each function may be nil, and is
// called by several goroutines at once; an error from one ends the walk.
type Visitor struct {
	// Fetch fetches a node's content, once for each digest, before the nodes
	// below. By default manifests and indexes are read.
	Fetch func(context.Context, *Node) error
	// Children lists the entries of a manifest or index that was fetched. By
	// default the bundle's fetcher does.
	Children func(context.Context, *Node) ([]nested.Entry, error)
	// Expanded is called for a manifest or index once its Children and Referrers
	// are those that will be visited, and before any of them is.
	Expanded func(*Node)
	// Home returns the repository to which a manifest belongs, with its config
	// and layers. By default that is the one of its path.
	Home func(context.Context, *Node) (auth.Repository, error)
	// Done is called for a node after it was called for everything below. The
	// node of a carrier has become that of the index in it.
	Done func(context.Context, *Node) error
}

// fill sets the defaults.
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
	if v.Expanded == nil {
		v.Expanded = func(*Node) {}
	}
	if v.Done == nil {
		v.Done = doNothing
	}
	return v
}

func doNothing(context.Context, *Node) error { return nil }
