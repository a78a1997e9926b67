// Package tree draws a bundle: what is in it, where that is, and how large.
//
// Read the files in this order: tree.go, what is drawn, and in which formats;
// sizes.go, how large everything below a node is; text.go, for a terminal or a
// pipe; json.go, for programs; graph.go, dot.go and mermaid.go, for documents.
//
// Every name in a bundle may be a stranger's. Each format escapes what it shows
// by its own rules, after what cannot be shown at all has been escaped
// (internal/sanitize).
package tree

import (
	"context"
	"io"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Formats are those of [Print].
func Formats() []string { return []string{"text", "json", "mermaid", "dot"} }

// Print draws what a walk has found: "text" as lines, with colours and in the
// width of a terminal; "json" as one object, in which size is that of a
// descriptor in bytes; "mermaid" as a flowchart (mermaid.js.org); "dot" as a
// graph (graphviz.org). Errors: those of out, and of the bundle's source.
func Print(ctx context.Context, out io.Writer, format string, b *bundle.Bundle, walked *bundle.Walked) error {
	if format == "json" {
		return sanitize.WriteJSON(out, newBranch(b, walked.Root, map[*bundle.Node]bool{}))
	}
	sizes, err := sizesOf(ctx, b, walked.Root)
	if err != nil {
		return err
	}
	t := tree{b, walked.Root, sizes}
	switch format {
	case "mermaid":
		return t.draw(out, mermaid{})
	case "dot":
		return t.draw(out, dot{})
	}
	return t.text(out)
}

// tree is what is drawn.
type tree struct {
	bundle *bundle.Bundle
	root   *bundle.Node
	sizes  *sizes
}
