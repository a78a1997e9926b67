package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
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
func (m *mover) home(w *walker, n *node) (auth.Repository, error) {
	if m.source == nil || n.home != (auth.Repository{}) {
		return n.homeOrOwn(), nil
	}
	isBlob := !oci.IsManifestOrIndex(n.MediaType)
	at := n.repository
	if w.found(n) != at || isBlob && n.entry { // which is not fetched before
		var err error
		if at, err = m.whoHas(w, n); err != nil {
			return at, err
		}
	}
	if m.fromParents { // all that is found is the member's
		at = n.repository
	}
	n.home = at
	return at, nil
}

// whoHas asks the repositories that may have a node's content for it.
func (m *mover) whoHas(w *walker, n *node) (auth.Repository, error) {
	repositories := []auth.Repository{n.repository}
	if n.entry || n.aside || oci.IsManifestOrIndex(n.MediaType) || m.fromParents {
		repositories = append(repositories, n.repository.Above(w.top)...)
	}
	for _, at := range repositories {
		if has, err := m.has(w, n, at); has || err != nil {
			return at, err
		}
	}
	return n.repository, m.lacks(w, n)
}

// has asks one repository for a node's content.
func (m *mover) has(w *walker, n *node, at auth.Repository) (bool, error) {
	kinds := []string{"manifests/"}
	switch {
	case n.carrier != nil:
		kinds = []string{"blobs/"}
	case !oci.IsManifestOrIndex(n.MediaType) && n.entry:
		kinds = []string{"blobs/", "manifests/"}
	case !oci.IsManifestOrIndex(n.MediaType):
		kinds = []string{"blobs/"}
	}
	for _, kind := range kinds {
		_, err := m.source.Head(w.ctx, at, kind+n.Digest.String(), n.MediaType+", */*")
		if !errdefs.IsNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}

// lacks is the error of a member that does not have what its manifest names. It
// says where it would be, for the publisher, who may read that.
func (m *mover) lacks(w *walker, n *node) error {
	elsewhere := "no repository that it may come from has it"
	for _, at := range n.repository.Above(w.top) {
		if has, err := m.has(w, n, at); err == nil && has {
			elsewhere = fmt.Sprintf("only %s has it, whose readers may be others; push it to %s, or give it to the member's readers with --from-parents", at, n.repository)
			break
		}
	}
	if at, ok := w.fetcher.Found(n.Digest); ok && at != n.repository && !slices.Contains(n.repository.Above(w.top), at) {
		elsewhere = fmt.Sprintf("only another member's repository, %s, has it, whose readers may be others; push it to %s", at, n.repository)
	}
	return fmt.Errorf("child %s@%s: %s: %w", n.repository, shortDigest(n.Digest), elsewhere, errdefs.ErrNotFound)
}

// to is where a node's content goes.
func (m *mover) to(w *walker, n *node) (auth.Repository, error) {
	home, err := m.home(w, n)
	if err != nil {
		return home, err
	}
	return m.target(below(w.top, home))
}

// below is a repository's name as seen from one above it, "" for that itself.
func below(top, r auth.Repository) string {
	return strings.TrimPrefix(strings.TrimPrefix(r.Name(), top.Name()), "/")
}

// homeOrOwn is the repository that a node's content was found in, as far as
// that was asked.
func (n *node) homeOrOwn() auth.Repository {
	if n.home != (auth.Repository{}) {
		return n.home
	}
	return n.repository
}
