package bundle

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Whoever may push to a child, and knows a digest, can name content of the
// parent, or of another child, in a manifest of theirs. A copy is made with the
// publisher's rights, so it must not hand that content to the readers of the
// copied child: content goes to where it was found. A member whose manifest is
// only in a repository above (docs/spec.md, section 4) goes to the repository
// above at the destination, with config and layers from there. Config and
// layers that are not where their manifest is end the copy.

// owner finds out to which repositories content belongs. It may be used by
// several goroutines at once.
type owner struct {
	bundle      *Bundle
	source      *registry.Client // nil: a layout
	fromParents bool             // content of repositories above goes to members that name it
	unproven    func(*Node) bool // left out, so that no repository has served it; may be nil

	homesMu sync.Mutex
	homes   map[homeKey]auth.Repository
}

// homeKey is everything about a node that determines its home.
type homeKey struct {
	at      auth.Repository
	content contentKey
	listed  bool
	aside   bool
	carried bool
}

func newOwner(b *Bundle, registries *registry.Client, fromParents bool) *owner {
	return &owner{bundle: b, source: registries, fromParents: fromParents, homes: map[homeKey]auth.Repository{}}
}

// home is the repository whose readers can read a node's content at the source:
// the one of the node's path, or one above it, but never another member's. A
// layout has only one.
func (o *owner) home(ctx context.Context, n *Node) (auth.Repository, error) {
	if o.source == nil {
		return n.Repository, nil
	}
	key := homeKey{n.Repository, n.key(), n.Listed, n.Aside, n.Carrier != nil}
	o.homesMu.Lock()
	at, known := o.homes[key]
	o.homesMu.Unlock()
	if known {
		return at, nil
	}
	at, err := o.find(ctx, n)
	if err != nil {
		return at, err
	}
	o.homesMu.Lock()
	defer o.homesMu.Unlock()
	o.homes[key] = at
	return at, nil
}

// find is home without the cache.
func (o *owner) find(ctx context.Context, n *Node) (auth.Repository, error) {
	listedBlob := n.Listed && !n.isManifestOrIndex() // not fetched before its home is known
	if o.bundle.Found(n) != n.Repository || listedBlob || o.unproven != nil && o.unproven(n) {
		if at, err := o.firstWith(ctx, n); err != nil || !o.fromParents { // with fromParents, content found above is the member's too
			return at, err
		}
	}
	return n.Repository, nil
}

// firstWith returns the first of the possible repositories that has a node's
// content.
func (o *owner) firstWith(ctx context.Context, n *Node) (auth.Repository, error) {
	repositories := []auth.Repository{n.Repository}
	if n.Listed || n.Aside || n.isManifestOrIndex() || o.fromParents {
		repositories = append(repositories, n.Repository.Above(o.bundle.Repository)...)
	}
	for _, at := range repositories {
		if has, err := o.has(ctx, n, at); has || err != nil {
			return at, err
		}
	}
	return n.Repository, o.lacks(ctx, n)
}

// has reports whether a repository has a node's content.
func (o *owner) has(ctx context.Context, n *Node, at auth.Repository) (bool, error) {
	kinds := []string{"manifests/"}
	switch {
	case n.Carrier != nil:
		kinds = []string{"blobs/"}
	case !n.isManifestOrIndex() && n.Listed:
		kinds = []string{"blobs/", "manifests/"}
	case !n.isManifestOrIndex():
		kinds = []string{"blobs/"}
	}
	for _, kind := range kinds {
		_, err := o.source.Head(ctx, at, kind+n.Digest.String(), n.MediaType+", */*")
		if !errdefs.IsNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}

// lacks is the error for a member that does not have what its manifest names.
// It says which repository has it, because the publisher may read that.
func (o *owner) lacks(ctx context.Context, n *Node) error {
	lacks := func(why string) error {
		return fmt.Errorf("child %s@%s: %s: %w", n.Repository, oci.Short(n.Digest), why, errdefs.ErrNotFound)
	}
	above := n.Repository.Above(o.bundle.Repository)
	if at, ok := o.bundle.Fetcher.Found(n.Digest); ok && at != n.Repository && !slices.Contains(above, at) {
		return lacks(fmt.Sprintf("only another member's repository, %s, has it, whose readers may be others; push it to %s", at, n.Repository))
	}
	for _, at := range above {
		if has, err := o.has(ctx, n, at); err == nil && has {
			return &AvoidableError{Err: lacks(fmt.Sprintf("only %s has it, whose readers may be others; push it to %s", at, n.Repository)), By: ByFromParents}
		}
	}
	return lacks("no repository that it may come from has it")
}
