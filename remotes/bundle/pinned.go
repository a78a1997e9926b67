package bundle

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

// Pinned is an image or artifact that clients can pull which know nothing of child
// namespaces.
type Pinned struct {
	Namespace  string          // composed path from the root; "" for the root
	Target     auth.Repository // the repository by that path, which manifests name
	Repository auth.Repository // the one that has it, which may be above the target
	Digest     digest.Digest
	Origins    []Origin // where it was copied from, as the index says; mostly none or one
}

// Pinned returns the members that a walk selected, by namespace, but for those that
// are nested indexes themselves.
func (b *Bundle) Pinned(w *Walked) []Pinned {
	var members []Pinned
	for _, n := range w.MemberNodes() {
		if !n.IsNestedIndex() {
			members = append(members, Pinned{n.Namespace, n.Repository, b.Found(n), n.Digest, n.Origins})
		}
	}
	return slices.CompactFunc(members, func(a, b Pinned) bool {
		return a.Namespace == b.Namespace && a.Target == b.Target && a.Repository == b.Repository && a.Digest == b.Digest
	})
}

// PinnedRoot returns what the root's tag names: the root, or its carrier.
func (b *Bundle) PinnedRoot() Pinned {
	desc := b.Root
	if carrier, ok := b.Fetcher.Carrier(); ok {
		desc = carrier
	}
	return Pinned{Target: b.Repository, Repository: b.Repository, Digest: desc.Digest}
}
