package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Whoever may push to a child, and knows a digest, can name content of the
// parent, or of another child, in a manifest of theirs. A copy is made with the
// publisher's rights, so it must not hand that content to the readers of the
// copied child: content goes to where it was found. A member whose manifest is
// only in a repository above (docs/spec.md, section 4) goes to the repository
// above at the destination, with config and layers from there. Config and
// layers that are not where their manifest is end the copy.

// home is the repository whose readers have a node's content at the source: the
// node's own, by its path, or one above it. Another member's is none. A layout
// has one place for all.
func (m *mover) home(w *bundle.Walker, n *bundle.Node) (auth.Repository, error) {
	if m.source == nil || n.Home != (auth.Repository{}) {
		return homeOrOwn(n), nil
	}
	isBlob := !oci.IsManifestOrIndex(n.MediaType)
	at := n.Repository
	if w.Found(n) != at || isBlob && n.Listed { // which is not fetched before
		var err error
		if at, err = m.whoHas(w, n); err != nil {
			return at, err
		}
	}
	if m.fromParents { // all that is found is the member's
		at = n.Repository
	}
	n.Home = at
	return at, nil
}

// whoHas asks the repositories that may have a node's content for it.
func (m *mover) whoHas(w *bundle.Walker, n *bundle.Node) (auth.Repository, error) {
	repositories := []auth.Repository{n.Repository}
	if n.Listed || n.Aside || oci.IsManifestOrIndex(n.MediaType) || m.fromParents {
		repositories = append(repositories, n.Repository.Above(w.Top)...)
	}
	for _, at := range repositories {
		if has, err := m.has(w, n, at); has || err != nil {
			return at, err
		}
	}
	return n.Repository, m.lacks(w, n)
}

// has asks one repository for a node's content.
func (m *mover) has(w *bundle.Walker, n *bundle.Node, at auth.Repository) (bool, error) {
	kinds := []string{"manifests/"}
	switch {
	case n.Carrier != nil:
		kinds = []string{"blobs/"}
	case !oci.IsManifestOrIndex(n.MediaType) && n.Listed:
		kinds = []string{"blobs/", "manifests/"}
	case !oci.IsManifestOrIndex(n.MediaType):
		kinds = []string{"blobs/"}
	}
	for _, kind := range kinds {
		_, err := m.source.Head(w.Ctx, at, kind+n.Digest.String(), n.MediaType+", */*")
		if !errdefs.IsNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}

// lacks is the error of a member that does not have what its manifest names. It
// says where it would be, for the publisher, who may read that.
func (m *mover) lacks(w *bundle.Walker, n *bundle.Node) error {
	elsewhere := "no repository that it may come from has it"
	for _, at := range n.Repository.Above(w.Top) {
		if has, err := m.has(w, n, at); err == nil && has {
			elsewhere = fmt.Sprintf("only %s has it, whose readers may be others; push it to %s, or give it to the member's readers with --from-parents", at, n.Repository)
			break
		}
	}
	if at, ok := w.Source.Found(n.Digest); ok && at != n.Repository && !slices.Contains(n.Repository.Above(w.Top), at) {
		elsewhere = fmt.Sprintf("only another member's repository, %s, has it, whose readers may be others; push it to %s", at, n.Repository)
	}
	return fmt.Errorf("child %s@%s: %s: %w", n.Repository, oci.Short(n.Digest), elsewhere, errdefs.ErrNotFound)
}

// to is where a node's content goes.
func (m *mover) to(w *bundle.Walker, n *bundle.Node) (auth.Repository, error) {
	home, err := m.home(w, n)
	if err != nil {
		return home, err
	}
	return m.target(below(w.Top, home))
}

// below is a repository's name as seen from one above it, "" for that itself.
func below(top, r auth.Repository) string {
	return strings.TrimPrefix(strings.TrimPrefix(r.Name(), top.Name()), "/")
}

// homeOrOwn is the repository that a node's content was found in, as far as
// that was asked.
func homeOrOwn(n *bundle.Node) auth.Repository {
	if n.Home != (auth.Repository{}) {
		return n.Home
	}
	return n.Repository
}
