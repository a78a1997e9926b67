package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Scenario is content over a link, pulled in several ways.
type Scenario struct {
	Name    string // for benchstat: no spaces
	Title   string
	Content Content
	Speed   Speed
	Rows    []Row // the first is what the others are compared with
}

// column is one of a table's.
type column struct {
	head string
	cell func(s Scenario, r Row) string
}

var columns = []column{
	{"pull", func(_ Scenario, r Row) string { return r.Name }},
	{"of", func(_ Scenario, r Row) string { return r.Shape.String() }},
	{"wall s", func(_ Scenario, r Row) string { return seconds(r.Wall()) }},
	{"from, to", func(_ Scenario, r Row) string {
		times := sorted(r.Samples, wall)
		return seconds(times[0]) + ", " + seconds(times[len(times)-1])
	}},
	{"÷ first", func(s Scenario, r Row) string { return ratio(float64(r.Wall()), float64(s.Rows[0].Wall())) }},
	{"least s", func(_ Scenario, r Row) string { return seconds(r.Floor.Wall) }},
	{"÷ least", func(_ Scenario, r Row) string { return ratio(float64(r.Wall()), float64(r.Floor.Wall)) }},
	{"CPU s", func(_ Scenario, r Row) string {
		return seconds(median(r.Samples, func(s Sample) time.Duration { return s.CPU }))
	}},
	{"CPU s of the registry", func(_ Scenario, r Row) string {
		return seconds(median(r.Samples, func(s Sample) time.Duration { return s.Server }))
	}},
	{"peak MiB", func(_ Scenario, r Row) string { return fmt.Sprint(r.Peak() >> 20) }},
	{"requests", func(_ Scenario, r Row) string { return fmt.Sprint(r.Requests()) }},
	{"÷ least", func(_ Scenario, r Row) string { return ratio(float64(r.Requests()), float64(r.Floor.Requests)) }},
	{"handshakes", func(_ Scenario, r Row) string {
		return fmt.Sprint(median(r.Samples, func(s Sample) int64 { return s.Traffic.Handshakes }))
	}},
	{"tokens", func(_ Scenario, r Row) string {
		return fmt.Sprint(median(r.Samples, func(s Sample) int { return s.Tokens }))
	}},
	{"helper runs", func(_ Scenario, r Row) string {
		return fmt.Sprint(median(r.Samples, func(s Sample) int { return s.Helpers }))
	}},
	{"bytes ÷ least", func(_ Scenario, r Row) string {
		return ratio(float64(median(r.Samples, func(s Sample) int64 { return s.Traffic.Received })), float64(r.Floor.Bytes))
	}},
}

// Table writes the scenario for people, in Markdown.
func (s Scenario) Table(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n", s.Title)
	f := s.Rows[0].Floor
	fmt.Fprintf(w, "%d members, %d indexes, %d blobs, %.1f MiB; at least %s, %d requests.\n\n",
		s.Content.Members, s.Content.Indexes, s.Content.Blobs, float64(s.Content.Bytes)/(1<<20), f.way, f.Requests)
	for _, c := range columns {
		fmt.Fprintf(w, "| %s ", c.head)
	}
	fmt.Fprintf(w, "|\n%s|\n", strings.Repeat("|---", len(columns)))
	for _, r := range s.Rows {
		for _, c := range columns {
			fmt.Fprintf(w, "| %s ", c.cell(s, r))
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintln(w)
}

// Lines writes every sample in the format that benchstat reads.
func (s Scenario) Lines(w io.Writer) {
	for _, r := range s.Rows {
		name := strings.NewReplacer(" ", "-", "/", "-", ",", "").Replace(r.Name + "-" + r.Shape.String())
		for _, sample := range r.Samples {
			fmt.Fprintf(w, "BenchmarkPull/%s/%s 1 %d ns/op %.3f cpu-s/op %d peak-B %d requests %d handshakes %d tokens %d helper-runs %d received-B\n",
				s.Name, name, sample.Wall.Nanoseconds(), sample.CPU.Seconds(), sample.Peak, sample.Requests,
				sample.Traffic.Handshakes, sample.Tokens, sample.Helpers, sample.Traffic.Received)
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// ratio is empty where there is nothing to compare with.
func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}
