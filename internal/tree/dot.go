package tree

import (
	"fmt"
	"strings"
)

// dot is graphviz's language (graphviz.org/doc/info/lang.html).
type dot struct{}

func (dot) begin() string { return "digraph bundle {\n  rankdir=LR;\n  node [shape=box];\n" }

func (dot) node(id string, lines []string) string {
	for i := range lines {
		lines[i] = dotEscapes.Replace(lines[i])
	}
	return fmt.Sprintf("  %s [label=\"%s\"];\n", id, strings.Join(lines, `\n`))
}

func (dot) edge(from, to, label string) string {
	if label == "" {
		return fmt.Sprintf("  %s -> %s;\n", from, to)
	}
	return fmt.Sprintf("  %s -> %s [label=\"%s\"];\n", from, to, dotEscapes.Replace(label))
}

func (dot) end() string { return "}\n" }

// dotEscapes escapes what is not itself in a quoted label: the quote, the
// backslash, which begins an escape such as \N for the node's name, and the
// ampersand, which begins an HTML entity.
var dotEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `&`, `&amp;`)
