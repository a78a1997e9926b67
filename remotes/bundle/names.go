package bundle

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// Named is a name that a pull records, and its content.
type Named struct {
	Name   string
	Target ocispec.Descriptor // without the fields of the index entry
}

// Names are the names that a pull records: a name for the root, first, and then
// <registry>/<target>@<digest> for each member that the walk selected.
func (w *Walked) Names(name string) []Named {
	all := []Named{{name, Bare(w.Root.Descriptor)}}
	seen := map[string]bool{name: true}
	for _, n := range w.MemberNodes() {
		name := n.Repository.String() + "@" + n.Digest.String()
		if !seen[name] {
			seen[name] = true
			all = append(all, Named{name, Bare(n.Descriptor)})
		}
	}
	return all
}
