package bundle

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// attach puts a manifest under the tag that attaches it to its subject. Whoever
// has signed at the destination keeps that: what is there is replaced only by
// more of the same.
func attach(ctx context.Context, to *registry.Client, n *Node, at auth.Repository, data []byte) error {
	_, there, other, err := to.ResolveContent(ctx, at.String()+":"+n.Tag)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if err == nil {
		ours, theirs := oci.Named(data), oci.Named(other)
		switch {
		case there.Digest == n.Digest || oci.Covers(theirs, ours):
			return nil
		case len(theirs) == 0 || !oci.Covers(ours, theirs):
			return usage.Errorf("%s:%s has other signatures than %s:%s, and neither has all; bring them together with cosign, or copy without referrers", at, n.Tag, n.Repository, n.Tag)
		}
	}
	return incomplete(at, n.Descriptor, putContent(ctx, to, at, n.Tag, Bare(n.Descriptor), data))
}
