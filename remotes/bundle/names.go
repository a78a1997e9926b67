package bundle

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// Named is what a name of a pull stands for.
type Named struct {
	Name   string
	Target ocispec.Descriptor // without what belongs to the index that it stood in
}

// Names are the names that a pull gives: ref for the root, first, and then
// <registry>/<target>@<digest> for each member that the walk selected.
func (w *Walker) Names(ref string, root *Node) []Named {
	all := []Named{{ref, Bare(root.Descriptor)}}
	seen := map[string]bool{ref: true}
	for _, n := range w.MemberNodes(root) {
		name := n.Repository.String() + "@" + n.Digest.String()
		if !seen[name] {
			seen[name] = true
			all = append(all, Named{name, Bare(n.Descriptor)})
		}
	}
	return all
}
