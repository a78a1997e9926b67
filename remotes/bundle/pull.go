package bundle

import (
	"context"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Target is the destination of a pull: a content store that records what is in
// it. It may also be a [Verifier] and a [Storer].
type Target interface {
	content.Store
	// Name is its name on a command line.
	Name() string
	// Lease returns a context whose content is not garbage-collected.
	Lease(context.Context) (context.Context, error)
	// Stored is called for a node whose content is in the store.
	Stored(context.Context, *Bundle, *Node) error
	// Done is called for a node when everything below it is in the store.
	Done(context.Context, *Bundle, *Node) error
	// Finish records what has arrived, the root under a name. Nothing is
	// recorded before.
	Finish(ctx context.Context, b *Bundle, w *Walked, name string) error
	// Close releases the target, finished or not. The caller of Pull calls it.
	Close() error
}

// Verifier is a target whose content others than its own daemon could have
// written.
type Verifier interface {
	// Verify reports whether content that was there matches its descriptor.
	// Otherwise it is fetched again.
	Verify(context.Context, ocispec.Descriptor) (bool, error)
}

// Collector is a target that can name several bundles at once.
type Collector interface {
	// FinishAll is Finish for all of them: all are recorded, or none.
	FinishAll(context.Context, []Pulled) error
}

// Storer is a target that needs to know the node of the content it stores.
type Storer interface {
	// StoreFor returns where a node's content goes.
	StoreFor(*Bundle, *Node) content.Ingester
}

// PullOptions say what of a bundle is pulled.
type PullOptions struct {
	// Options say what is pulled. Configs and layers are always included.
	Options
	// From, when given, is the client of the registries that the bundle is read
	// from. It says that the pull is passed on to others: content has to be
	// where its member's readers can read it, or with FromParents in a
	// repository above.
	From        *registry.Client
	FromParents bool
	// Since is what the readers of the target have already. It is left out; see
	// Walked.Omitted.
	Since []delta.Earlier
	// Progress is notified as the pull proceeds; may be nil.
	Progress Progress
}

// Pull pulls a bundle into a target, the root under a name. Content that is
// there is not fetched again, so that running an interrupted pull again
// completes it.
func Pull(ctx context.Context, b *Bundle, to Target, name string, o PullOptions) (*Walked, error) {
	walked, err := PullAll(ctx, to, []Pulling{{b, name, o}})
	if err != nil {
		return nil, err
	}
	return walked[0], nil
}

// Pulling is one of several bundles that are pulled into one target.
type Pulling struct {
	Bundle *Bundle
	Name   string // of its root
	PullOptions
}

// Pulled is a bundle whose content is in a target, before it is named there.
type Pulled struct {
	Bundle *Bundle
	Walked *Walked
	Name   string
}

// PullAll is [Pull] for several bundles. Content that they share is stored
// once, and none is named before all are there. Two that have one name are a
// usage error, before anything is fetched.
func PullAll(ctx context.Context, to Target, all []Pulling) (walked []*Walked, err error) {
	if err = CheckNames(all); err != nil {
		return nil, err
	}
	if ctx, err = to.Lease(ctx); err != nil {
		return nil, err
	}
	lacks := delta.NewLacking()
	for _, p := range all {
		if err = p.findRest(ctx, to, lacks); err != nil {
			return nil, err
		}
	}
	if err = lacks.Err(); err != nil {
		return nil, err
	}
	pulled := make([]Pulled, len(all))
	for _, p := range all {
		p.Bundle.expect(shown(p.Progress))
	}
	for i, p := range all {
		w, err := p.walk(ctx, to)
		if err != nil {
			return nil, err
		}
		pulled[i], walked = Pulled{p.Bundle, w, p.Name}, append(walked, w)
	}
	if several, ok := to.(Collector); ok && len(all) > 1 {
		return walked, several.FinishAll(ctx, pulled)
	}
	for _, p := range pulled {
		if err := to.Finish(ctx, p.Bundle, p.Walked, p.Name); err != nil {
			return nil, err
		}
	}
	return walked, nil
}

// CheckNames refuses a name that two bundles would have, as [PullAll] does.
func CheckNames(all []Pulling) error {
	roots := map[string]digest.Digest{}
	for _, p := range all {
		root := p.Bundle.Root.Digest
		if other, ok := roots[p.Name]; ok && other != root {
			return usage.Errorf("two sources are %s, with other content (%s and %s); copy one of them under another tag first", p.Name, oci.Short(other), oci.Short(root))
		}
		roots[p.Name] = root
	}
	return nil
}

// walk brings everything, and names nothing.
func (p Pulling) walk(ctx context.Context, to Target) (*Walked, error) {
	b, o, show := p.Bundle, p.PullOptions, shown(p.Progress)
	own := newOwner(b, o.From, o.FromParents)
	leave := delta.NewOmitter(o.Since)
	own.unproven = func(n *Node) bool { return leave.Unproven(n.Repository, n.Descriptor) }
	o.Blobs, o.Attached = true, true
	walked, err := b.Walk(ctx, o.Options, Visitor{
		Home: own.home,
		Fetch: func(ctx context.Context, n *Node) error {
			defer show.End(n)
			if always := n.IsRoot || n.Aside && n.isManifestOrIndex(); !always { // they say what belongs to the bundle
				if omitted, err := leave.Omit(ctx, Bare(n.Descriptor)); omitted || err != nil {
					return err
				}
			}
			return bring(ctx, b, n, to, show)
		},
		Expanded: show.Expand,
		Children: func(ctx context.Context, n *Node) ([]nested.Entry, error) {
			if leave.Omits(n.Descriptor) {
				return leave.Children(ctx, n.Descriptor)
			}
			return b.Fetcher.Children(ctx, n.Descriptor)
		},
		Done: func(ctx context.Context, n *Node) error {
			if _, unowned := own.home(ctx, n); unowned != nil {
				return unowned
			}
			leave.Note(n.Repository, n.Descriptor)
			if n.IsMember() {
				show.Member(n)
			}
			return to.Done(ctx, b, n)
		},
	})
	if err == nil {
		walked.Omitted = leave.All()
	}
	return walked, err
}

// bring stores a node's content.
func bring(ctx context.Context, b *Bundle, n *Node, to Target, show Progress) error {
	if err := oci.CheckStorable(n.Descriptor); err != nil {
		return err
	}
	if err := store(ctx, to, b, n, show.Begin(n)); err != nil {
		return b.Explain(n, err)
	}
	return to.Stored(ctx, b, n)
}
