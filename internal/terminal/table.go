package terminal

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/nestedoci/nested/internal/sanitize"
)

// Cell is a cell of a table. Its text may be that of strangers.
type Cell struct {
	Text  string
	Style Style
	Right bool // aligned to the right, as numbers are
	Whole bool // with whole digests, in a terminal of any width
}

// Cells are plain cells.
func Cells(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, text := range texts {
		cells[i].Text = text
	}
	return cells
}

// Line is a row of one cell, which is aligned with nothing.
func Line(style Style, text string) []Cell { return []Cell{{Text: text, Style: style}} }

// Result is a line that people copy: its digest is whole.
func Result(text string) []Cell { return []Cell{{Text: text, Style: Strong, Whole: true}} }

// Table is rows whose columns are aligned. Rows may have fewer cells than
// others.
type Table [][]Cell

// gap is what is between two columns.
const gap = "  "

// maxAligned is the widest cell that others are aligned with: a stranger's long
// string must not fill every row with spaces. References have fewer cells.
const maxAligned = 400

// Print writes the table, escaped, in cells of at most [sanitize.MaxMessage]
// bytes. Where a terminal is too narrow for it, digests are cut. Errors: those of
// out.
func (t Table) Print(out io.Writer, s Screen) error {
	_, err := io.WriteString(out, t.format(s))
	return err
}

// Lines are the lines of the table as a pipe gets them.
func (t Table) Lines() []string {
	if len(t) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(t.format(Screen{}), "\n"), "\n")
}

// Cut cuts escaped text to a width in cells, with a mark where it does.
func Cut(escaped string, width int) string { return narrow.Truncate(escaped, width, "…") }

func (t Table) format(s Screen) string {
	escaped := make(Table, len(t))
	for i, row := range t {
		escaped[i] = make([]Cell, len(row))
		for j, cell := range row {
			cell.Text = sanitize.Message(cell.Text)
			escaped[i][j] = cell
		}
	}
	widths := escaped.widths()
	if s.Width > 0 && slices.ContainsFunc(escaped, func(row []Cell) bool { return cellsOf(Screen{}.line(row, widths)) > s.Width }) {
		escaped.cut()
		widths = escaped.widths()
	}
	var b strings.Builder
	for _, row := range escaped {
		b.WriteString(s.line(row, widths))
		b.WriteByte('\n')
	}
	return b.String()
}

// widths are those of the columns. The last cell of a row needs no room for
// others to be aligned, and a lone one has none.
func (t Table) widths() []int {
	var widths []int
	for _, row := range t {
		last := len(row) - 1
		for last >= 0 && row[last].Text == "" {
			last--
		}
		for i, cell := range row[:last+1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if w := cellsOf(cell.Text); w <= maxAligned && (i < last || cell.Right) {
				widths[i] = max(widths[i], w)
			}
		}
	}
	return widths
}

// line is a row, without spaces at its end. A column in which no row has
// anything takes no room.
func (s Screen) line(row []Cell, widths []int) string {
	var b strings.Builder
	row = row[:min(len(row), len(widths))] // the rest of it is empty
	pending := 0                           // spaces that are only written before more text
	for i, cell := range row {
		if widths[i] == 0 && cell.Text == "" {
			continue
		}
		missing := max(widths[i]-cellsOf(cell.Text), 0)
		if cell.Right {
			pending, missing = pending+missing, 0
		}
		if cell.Text != "" {
			b.WriteString(strings.Repeat(" ", pending))
			b.WriteString(s.paint(cell.Style, s.faintDigests(cell.Style, cell.Text)))
			pending = 0
		}
		pending += missing + len(gap)
	}
	return b.String()
}

// digests matches digests that are long enough to be in the way.
var digests = regexp.MustCompile(`\b[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}\b`)

// faintDigests leaves strong text as it is: the end of what is faint would end
// that, too.
func (s Screen) faintDigests(style Style, escaped string) string {
	if !s.Colour || style == Strong {
		return escaped
	}
	return digests.ReplaceAllStringFunc(escaped, func(d string) string { return s.paint(Faint, d) })
}

// cut cuts the digests. The mark says that they are not whole.
func (t Table) cut() {
	const shown = 12
	for _, row := range t {
		for i := range row {
			if row[i].Whole {
				continue
			}
			row[i].Text = digests.ReplaceAllStringFunc(row[i].Text, func(d string) string {
				return d[:strings.IndexByte(d, ':')+1+shown] + "…"
			})
		}
	}
}

// narrow measures as terminals do whose locale is not an East Asian one: the
// same table is the same bytes everywhere.
var narrow = &runewidth.Condition{StrictEmojiNeutral: true}

// cellsOf is how many cells of a terminal escaped text takes. Wide characters
// take two.
func cellsOf(escaped string) int { return narrow.StringWidth(escaped) }
