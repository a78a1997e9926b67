package bench

import (
	"cmp"
	"slices"
	"time"
)

// Sample is what one pull took.
type Sample struct {
	Wall, CPU time.Duration // CPU of all processes that took part, but for the registry's side
	Server    time.Duration // CPU of the registry's side, the link included
	Peak      int64         // bytes of memory that these processes held at most
	Requests  int           // tokens and refusals included
	Tokens    int
	Helpers   int // runs of the credential helper
	Traffic   Traffic
}

// Row is one way to pull the same content, measured several times.
type Row struct {
	Name    string
	Shape   Shape
	Floor   Floor
	Samples []Sample
}

// median is that of one figure of the samples.
func median[T cmp.Ordered](samples []Sample, figure func(Sample) T) T {
	values := sorted(samples, figure)
	return values[len(values)/2]
}

func sorted[T cmp.Ordered](samples []Sample, figure func(Sample) T) []T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	slices.Sort(values)
	return values
}

func wall(s Sample) time.Duration { return s.Wall }

// Wall is the median of the times.
func (r Row) Wall() time.Duration { return median(r.Samples, wall) }

// Peak is the median of what was held at most, in bytes.
func (r Row) Peak() int64 { return median(r.Samples, func(s Sample) int64 { return s.Peak }) }

// Requests is the median of the requests.
func (r Row) Requests() int { return median(r.Samples, func(s Sample) int { return s.Requests }) }
