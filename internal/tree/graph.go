package tree

import (
	"io"
	"strconv"
	"strings"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/bundle"
)

// language is a language of graphs. Lines and labels have been made showable,
// and are escaped by the language's own rules.
type language interface {
	begin() string
	// node is a node with the lines of its label.
	node(id string, lines []string) string
	// edge is an arrow; its label may be empty.
	edge(from, to, label string) string
	end() string
}

// draw draws each node once, with as many arrows to it as there are paths.
func (t tree) draw(out io.Writer, l language) error {
	var b strings.Builder
	all, ids := t.root.All(), map[*bundle.Node]string{}
	b.WriteString(l.begin())
	for i, n := range all {
		ids[n] = "n" + strconv.Itoa(i)
		b.WriteString(l.node(ids[n], t.label(n)))
	}
	for _, n := range all {
		for _, c := range n.Children {
			b.WriteString(l.edge(ids[n], ids[c], shown(c.Child.String())))
		}
	}
	b.WriteString(l.end())
	_, err := io.WriteString(out, b.String())
	return err
}

// label is what is said of a node: where and what it is.
func (t tree) label(n *bundle.Node) []string {
	about := shown(oci.Kind(n.MediaType, n.ArtifactType))
	if n.Platform != nil {
		about += ", " + shown(bundle.PlatformOf(n.Platform))
	}
	return []string{shown(t.bundle.Found(n).String()), oci.Short(n.Digest), about + ", " + t.sizes.text(n)}
}

// shown makes a part of a label showable, and short enough for a picture.
func shown(s string) string {
	const most = 120
	r := []rune(sanitize.Message(s))
	if len(r) > most {
		r = append(r[:most:most], '…')
	}
	return string(r)
}
