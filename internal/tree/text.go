package tree

import (
	"io"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/bundle"
)

// text draws a line for each node. As in JSON, what is below a node is drawn
// where the node appears first.
func (t tree) text(out io.Writer) error {
	var rows terminal.Table
	drawn := map[*bundle.Node]bool{}
	var add func(n *bundle.Node, first, rest string)
	add = func(n *bundle.Node, first, rest string) {
		rows = append(rows, t.row(n, first))
		if drawn[n] {
			return
		}
		drawn[n] = true
		for i, c := range n.Children {
			if i < len(n.Children)-1 {
				add(c, rest+"├── ", rest+"│   ")
			} else {
				add(c, rest+"└── ", rest+"    ")
			}
		}
	}
	add(t.root, "", "")
	return rows.Print(out, terminal.Of(out))
}

// row is a node's line, with what is drawn before its name.
func (t tree) row(n *bundle.Node, before string) []terminal.Cell {
	return []terminal.Cell{
		{Text: before + t.bundle.Found(n).String() + "@" + string(n.Digest)},
		{Text: oci.Kind(n.MediaType, n.ArtifactType)},
		{Text: bundle.PlatformOf(n.Platform), Style: terminal.Note},
		{Text: t.sizes.text(n), Right: true},
	}
}
