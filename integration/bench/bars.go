package bench

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bar is what one way took, beside the least that the protocol needs, in seconds.
type Bar struct {
	Name        string
	Ours        bool
	Took, Least float64
}

// Group is a scenario's bars.
type Group struct {
	Title string
	Bars  []Bar
}

// Groups reads scenarios from the tables of a document, by their titles: what was pulled nested, and the others' pulls from
// one repository. So a chart says what the document says.
func Groups(document string, titles ...string) ([]Group, error) {
	var groups []Group
	for _, title := range titles {
		_, table, found := strings.Cut(document, "\n### "+title+"\n")
		if !found {
			return nil, fmt.Errorf("the document has no table %q", title)
		}
		table, _, _ = strings.Cut(table, "\n### ")
		g := Group{Title: title}
		for line := range strings.Lines(table) {
			cells := strings.Split(line, " | ")
			if len(cells) < len(columns) || cells[1] == "of" || cells[1] == Members.String() {
				continue
			}
			took, err1 := strconv.ParseFloat(cells[2], 64)
			least, err2 := strconv.ParseFloat(cells[5], 64)
			if err := cmp.Or(err1, err2); err != nil {
				return nil, fmt.Errorf("table %q: %w", title, err)
			}
			g.Bars = append(g.Bars, Bar{strings.TrimPrefix(cells[0], "| "), cells[1] == Nested.String(), took, least})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// The chart's measures, in pixels.
const (
	barsLeft, barsRight = 280, 70
	barHeight, barGap   = 18, 8
	groupHead, barsTop  = 38, 42
)

const barsStyle = `<style>.o{fill:#0072b2}.p{fill:#9ca3af}.l{stroke:#d55e00;stroke-width:3}.t{fill:#1f2937}.h{fill:#1f2937;font-weight:bold}
@media (prefers-color-scheme: dark){.o{fill:#56b4e9}.p{fill:#6b7280}.l{stroke:#e69f00}.t,.h{fill:#e5e7eb}}</style>
`

// BarsSVG writes the groups as one chart, whose scale is linear, and begins at nought.
func BarsSVG(w io.Writer, groups []Group) {
	longest, tall := 0.0, barsTop
	for _, g := range groups {
		tall += groupHead + len(g.Bars)*(barHeight+barGap)
		for _, b := range g.Bars {
			longest = max(longest, b.Took)
		}
	}
	at := func(v float64) float64 { return barsLeft + v/longest*(width-barsLeft-barsRight) }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="14" role="img" aria-label="What pulls took, beside the least that the protocol needs">`+"\n"+barsStyle, width, tall)
	text := func(class, anchor string, x, y float64, s string) {
		fmt.Fprintf(w, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">`, class, x, y, anchor)
		_ = xml.EscapeText(w, []byte(s)) // a writer that fails does so at the end, too
		fmt.Fprint(w, "</text>\n")
	}
	fmt.Fprintf(w, `<rect class="o" x="14" y="12" width="14" height="14"/><rect class="p" x="190" y="12" width="14" height="14"/><line class="l" x1="430" y1="10" x2="430" y2="28"/>`+"\n")
	text("t", "start", 34, 24, "a bundle, with nested")
	text("t", "start", 210, 24, "the same in one repository")
	text("t", "start", 440, 24, "the least that the protocol needs")
	y := float64(barsTop)
	for _, g := range groups {
		text("h", "start", 14, y+22, g.Title+", seconds")
		y += groupHead
		for _, b := range g.Bars {
			class := "p"
			if b.Ours {
				class = "o"
			}
			text("t", "end", barsLeft-10, y+14, b.Name)
			fmt.Fprintf(w, `<rect class="%s" x="%d" y="%.1f" width="%.1f" height="%d"/>`+"\n", class, barsLeft, y, at(b.Took)-barsLeft, barHeight)
			fmt.Fprintf(w, `<line class="l" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", at(b.Least), y-3, at(b.Least), y+barHeight+3)
			text("t", "start", at(b.Took)+8, y+14, fmt.Sprintf("%.2f", b.Took))
			y += barHeight + barGap
		}
	}
	fmt.Fprintln(w, "</svg>")
}
