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
	Rows    []Row
}

// Table writes the scenario for people, in Markdown.
func (s Scenario) Table(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n", s.Title)
	fmt.Fprintln(w, "| pull | of | wall | spread | least | ÷ least | CPU s | of the registry | peak MiB | requests | ÷ least | handshakes | tokens | helper | bytes ÷ least |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range s.Rows {
		times := sorted(r.Samples, wall)
		requests := median(r.Samples, func(s Sample) int { return s.Requests })
		cells := []string{
			r.Name, r.Shape.String(),
			seconds(r.Wall()), seconds(times[0]) + " to " + seconds(times[len(times)-1]),
			seconds(r.Floor.Wall), ratio(float64(r.Wall()), float64(r.Floor.Wall)),
			seconds(median(r.Samples, func(s Sample) time.Duration { return s.CPU })),
			seconds(median(r.Samples, func(s Sample) time.Duration { return s.Server })),
			fmt.Sprint(median(r.Samples, func(s Sample) int64 { return s.Peak }) >> 20),
			fmt.Sprint(requests), ratio(float64(requests), float64(r.Floor.Requests)),
			fmt.Sprint(median(r.Samples, func(s Sample) int64 { return s.Traffic.Handshakes })),
			fmt.Sprint(median(r.Samples, func(s Sample) int { return s.Tokens })),
			fmt.Sprint(median(r.Samples, func(s Sample) int { return s.Helpers })),
			ratio(float64(median(r.Samples, func(s Sample) int64 { return s.Traffic.Received })), float64(r.Floor.Bytes)),
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintln(w)
}

// Lines writes every sample in the format that benchstat reads.
func (s Scenario) Lines(w io.Writer) {
	for _, r := range s.Rows {
		name := strings.NewReplacer(" ", "-", "/", "-").Replace(r.Name + "-" + r.Shape.String())
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
