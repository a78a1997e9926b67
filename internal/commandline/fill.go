package commandline

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/nestedoci/nested/internal/terminal"
)

const (
	// standardWidth is for pipes and files, as wide as terminals once were.
	standardWidth = 80
	// leastWidth keeps a column of text beside one of flags.
	leastWidth = 40
)

// width returns how many columns there are to write to.
func width(out io.Writer) int {
	if columns := terminal.Of(out).Width; columns > 0 {
		return max(columns, leastWidth)
	}
	return standardWidth
}

// wrap fills the paragraphs of a text, which empty lines separate. Indented lines
// stay as they are.
func wrap(text string, width int) string {
	var paragraphs []string
	for p := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		if p = strings.Trim(p, "\n"); !strings.HasPrefix(p, " ") && !strings.HasPrefix(p, "\t") {
			p = fill(p, "", width)
		}
		paragraphs = append(paragraphs, p)
	}
	return strings.Join(paragraphs, "\n\n")
}

// fill breaks a text into lines. All but the first begin with the indentation,
// which the first has already.
func fill(text, indentation string, width int) string {
	var b strings.Builder
	column := utf8.RuneCountInString(indentation)
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteString("\n" + indentation)
			column = utf8.RuneCountInString(indentation)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
