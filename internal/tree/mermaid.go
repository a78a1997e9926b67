package tree

import (
	"fmt"
	"strings"
	"unicode"
)

// mermaid is a flowchart of Mermaid, which forges draw in their documents.
type mermaid struct{}

func (mermaid) begin() string { return "flowchart LR\n" }

func (mermaid) node(id string, lines []string) string {
	for i := range lines {
		lines[i] = mermaidEscape(lines[i])
	}
	return fmt.Sprintf("  %s[\"%s\"]\n", id, strings.Join(lines, "<br>"))
}

func (mermaid) edge(from, to, label string) string {
	if label == "" {
		return fmt.Sprintf("  %s --> %s\n", from, to)
	}
	return fmt.Sprintf("  %s -->|\"%s\"| %s\n", from, mermaidEscape(label), to)
}

func (mermaid) end() string { return "" }

// mermaidEscape writes everything but letters, digits and what is in names as an
// entity code (mermaid.js.org/syntax/flowchart.html, "Entity codes to escape
// characters"). Labels are HTML and may be Markdown, and Mermaid looks for
// directives and for lines like "style: #fff;" before it knows what is quoted:
// what is left raw means nothing in any of them.
func mermaidEscape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" ./-,…", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
