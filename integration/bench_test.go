package integration

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

var (
	quickFlag     = flag.Bool("quick", false, "measure few scenarios, for development")
	scenariosFlag = flag.String("scenarios", "", "measure the scenarios whose names match this regular expression")
	roundsFlag    = flag.Int("rounds", 0, "how often to measure, instead of each scenario's own number")
	linesFlag     = flag.String("lines", "", "write each measurement to this file, for benchstat")
	writeFlag     = flag.Bool("write", false, "write docs/performance.md and its plots, when everything is measured")
)

const performance = "../docs/performance.md"

// BenchmarkPulls measures pulls of bundles side by side; see docs/performance.md.
func BenchmarkPulls(b *testing.B) {
	s := newStage(b)
	s.startDaemons(b)
	for b.Loop() {
		var tables, lines bytes.Buffer
		out := io.MultiWriter(os.Stdout, &tables)
		s.writeLinks(b, out)
		for _, c := range s.scenarios() {
			if !c.wanted() {
				continue
			}
			got := s.take(b, c)
			got.Table(out)
			got.Lines(&lines)
		}
		if *linesFlag != "" {
			must(b, os.WriteFile(*linesFlag, lines.Bytes(), 0o644))
		}
		if *writeFlag && !*quickFlag && *scenariosFlag == "" {
			must(b, bench.Replace(performance, tables.String()))
			for file, chart := range charts(b) {
				must(b, os.WriteFile(file, []byte(chart), 0o644))
			}
		}
	}
	b.ReportMetric(0, "ns/op") // what was measured is above
}

func (c scenario) wanted() bool {
	if *scenariosFlag != "" {
		return regexp.MustCompile(*scenariosFlag).MatchString(c.name)
	}
	return c.quick == *quickFlag
}

// take measures a scenario's contenders in turn, after a pull that does not count: the registry's memory and the file
// system's are then as warm for the first of them as for the others.
func (s *stage) take(t testing.TB, c scenario) bench.Scenario {
	t.Helper()
	at := c.content(t)
	made := bench.Scenario{Name: c.name, Title: c.title, Content: at.content, Speed: c.speed}
	for _, w := range c.who {
		made.Rows = append(made.Rows, bench.Row{Name: w.name, Shape: w.shape, Floor: w.shape.Floor(at.content, c.speed)})
	}
	rounds := c.rounds
	if *roundsFlag > 0 {
		rounds = *roundsFlag
	}
	s.measure(t, nestctlToLayout.prepare(t, s.scene, at))
	s.link.Set(c.speed)
	defer s.link.Set(bench.Speed{})
	for range rounds {
		for i, w := range c.who {
			row := &made.Rows[i]
			row.Samples = append(row.Samples, s.measure(t, w.prepare(t, s.scene, at)))
			if t.Failed() {
				t.Fatalf("%s: %s", c.name, w.name)
			}
		}
	}
	return made
}

// writeLinks says whether the link is what it is said to be.
func (s *stage) writeLinks(t testing.TB, out io.Writer) {
	t.Helper()
	fmt.Fprint(out, "A plain GET of 64 MiB over the link, 20 ms away:\n\n")
	for _, perSecond := range []int64{0, gigabit, gigabit / 10} {
		got := s.checkLink(t, bench.Speed{RoundTrip: 20 * time.Millisecond, BytesPerSecond: perSecond})
		of := "without a limit"
		if perSecond > 0 {
			of = fmt.Sprintf("%.2f of %d Mbit/s", got/float64(perSecond), perSecond*8/1e6)
		}
		fmt.Fprintf(out, "- %.0f Mbit/s, %s\n", got*8/1e6, of)
	}
	fmt.Fprintln(out)
}

// charts are the document's pictures by their files, made of its tables.
func charts(t testing.TB) map[string]string {
	t.Helper()
	document := readText(t, performance)
	groups, err := bench.Groups(document, "Into a layout, 20 ms away", "Into containerd, 20 ms away")
	must(t, err)
	var svg bytes.Buffer
	bench.BarsSVG(&svg, groups)
	all := map[string]string{pictureOf("headline"): svg.String()}
	for kind, plot := range plots {
		var titles []string
		for _, found := range regexp.MustCompile(`(?m)^### (`+plot.titles+`)$`).FindAllStringSubmatch(document, -1) {
			titles = append(titles, found[1])
		}
		groups, err := bench.Groups(document, titles...)
		must(t, err)
		plot.Series, err = bench.Growth(groups, usual)
		must(t, err)
		svg.Reset()
		plot.SVG(&svg)
		all[pictureOf(kind)] = svg.String()
	}
	return all
}

func pictureOf(kind string) string {
	return filepath.Join(filepath.Dir(performance), "performance-"+kind+".svg")
}

// TestCharts: the charts of docs/performance.md say what its tables say. UPDATE=1 writes them.
func TestCharts(t *testing.T) {
	for file, want := range charts(t) {
		if os.Getenv("UPDATE") == "1" {
			must(t, os.WriteFile(file, []byte(want), 0o644))
		}
		if readText(t, file) != want {
			t.Errorf("%s is not what the tables say: run the test with UPDATE=1", file)
		}
	}
}
