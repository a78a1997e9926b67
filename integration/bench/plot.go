package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Point is a measurement at a size of the work.
type Point struct {
	X float64
	Y float64
}

// Series are the points of one way.
type Series struct {
	Name   string
	Points []Point
}

// Plot is a diagram of growth, with logarithmic scales.
type Plot struct {
	Title, X, Y string
	Series      []Series
}

// The diagram's measures, in pixels.
const (
	width, height           = 760, 420
	left, right             = 70, 240 // the legend is at the right; the diagram is wider where a name needs more
	top, bottom             = 40, 50
	inWidth, inHeight       = width - left - right, height - top - bottom
	legendLine, legendInset = 20, 14
	legendText              = legendInset + 18 // after a bar of the series' colour
	letter                  = 7                // of the usual fonts, 12 pixels high, the mean with some room
)

// colours are told apart by people who see fewer of them, too (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// SVG writes the diagram.
func (p Plot) SVG(w io.Writer) {
	xs, ys := p.scale(func(q Point) float64 { return q.X }), p.scale(func(q Point) float64 { return q.Y })
	wide := width
	for _, s := range p.Series {
		wide = max(wide, left+inWidth+legendText+letter*len(s.Name))
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", wide, height)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", wide, height)
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
	}
	line := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(w, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#cccccc"/>`+"\n", x1, y1, x2, y2)
	}
	at := func(q Point) (float64, float64) { return left + xs.of(q.X)*inWidth, top + (1-ys.of(q.Y))*inHeight }
	for _, v := range xs.ticks() {
		x, _ := at(Point{v, ys.low})
		line(x, top, x, top+inHeight)
		text(x, top+inHeight+18, "middle", short(v))
	}
	for _, v := range ys.ticks() {
		_, y := at(Point{xs.low, v})
		line(left, y, left+inWidth, y)
		text(left-8, y+4, "end", short(v))
	}
	text(left, top-16, "start", p.Title)
	text(left+inWidth/2, height-10, "middle", p.X)
	text(left-8, top-16, "end", p.Y)
	for i, s := range p.Series {
		colour := colours[i%len(colours)]
		points := ""
		for _, q := range s.Points {
			x, y := at(q)
			points += fmt.Sprintf("%.1f,%.1f ", x, y)
			fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
		}
		fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", points, colour)
		y := float64(top + i*legendLine)
		fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="12" height="4" fill="%s"/>`+"\n", left+inWidth+legendInset, y, colour)
		text(left+inWidth+legendText, y+6, "start", s.Name)
	}
	fmt.Fprintln(w, "</svg>")
}

// scale is a logarithmic scale between powers of ten.
type scale struct{ low, high float64 }

func (p Plot) scale(of func(Point) float64) scale {
	var values []float64
	for _, s := range p.Series {
		for _, q := range s.Points {
			values = append(values, of(q))
		}
	}
	low := math.Pow(10, math.Floor(math.Log10(slices.Min(values))))
	high := math.Pow(10, math.Ceil(math.Log10(slices.Max(values))))
	return scale{low, max(high, 10*low)}
}

// of is where a value stands, from 0 to 1.
func (s scale) of(v float64) float64 { return math.Log10(v/s.low) / math.Log10(s.high/s.low) }

func (s scale) ticks() []float64 {
	var ticks []float64
	for v := s.low; v <= s.high*1.001; v *= 10 {
		ticks = append(ticks, v)
	}
	return ticks
}

// short is a number without noughts that say nothing.
func short(v float64) string { return fmt.Sprintf("%.4g", v) }

// number is the one in a title, as in "1,000 members" and "An index of 10 entries": how far away it is stands after it.
var number = regexp.MustCompile(`([0-9][0-9,]*) (members|entries)`)

// Growth makes series of tables that differ in the number of members or entries in their titles; without one it is usual.
func Growth(groups []Group, usual float64) ([]Series, error) {
	var all []Series
	for _, g := range groups {
		x := usual
		if found := number.FindStringSubmatch(g.Title); found != nil {
			var err error
			if x, err = strconv.ParseFloat(strings.ReplaceAll(found[1], ",", ""), 64); err != nil {
				return nil, fmt.Errorf("title %q: %w", g.Title, err)
			}
		}
		for _, bar := range g.Bars {
			i := slices.IndexFunc(all, func(s Series) bool { return s.Name == bar.Name })
			if i < 0 {
				i, all = len(all), append(all, Series{Name: bar.Name})
			}
			all[i].Points = append(all[i].Points, Point{x, bar.Took})
		}
	}
	for _, s := range all {
		slices.SortFunc(s.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
	}
	return slices.DeleteFunc(all, func(s Series) bool { return len(s.Points) < 2 }), nil
}
