package main

import (
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// Content is copied to where it belongs by its own source: that another member
// has the same digest gives its readers nothing. Copies in the repositories
// above count, as for a pull (docs/spec.md, section 4).

// checkOwner refuses a document that another member's repository served, and
// that its own does not have.
func (m *mover) checkOwner(w *walker, n *node) error {
	found := w.found(n)
	if found == n.repository || isCopy(n, found) {
		return nil
	}
	kind := "manifests/"
	if n.carrier != nil {
		kind = "blobs/"
	}
	return m.exists(w, n, kind)
}

// exists asks whether a node's own repository, or one above it, has content. A
// layout has one place for all.
func (m *mover) exists(w *walker, n *node, kind string) error {
	if m.source == nil {
		return nil
	}
	for _, at := range append([]auth.Repository{n.repository}, n.repository.Above(w.top)...) {
		_, err := m.source.Head(w.ctx, at, kind+n.Digest.String(), n.MediaType+", */*")
		if !errdefs.IsNotFound(err) {
			return err
		}
	}
	return fmt.Errorf("child %s@%s: only another member's repository has it: %w", n.repository, n.Digest, errdefs.ErrNotFound)
}
