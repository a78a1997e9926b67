package progress

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/nestedoci/nested/internal/terminal"
)

// bars are what is drawn on a terminal: a bar, and lines above it. They are drawn
// in place, in the width that the terminal has at the time. The cursor is never
// hidden, so that there is nothing to restore when the program is killed.
type bars struct {
	*mpb.Progress
	bar     *mpb.Bar
	current atomic.Pointer[view]
	end     chan struct{}
	ended   sync.WaitGroup
}

// interval is how often a source is asked. mpb draws as often.
const interval = 150 * time.Millisecond

// draw draws what a source says, until stop.
func draw(out io.Writer, from source) *bars {
	b := &bars{Progress: mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithRefreshRate(interval)), end: make(chan struct{})}
	b.current.Store(new(view))
	b.update(from)
	lines := make([]mpb.BarFiller, maxLines)
	for i := range lines {
		lines[i] = mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error { return b.line(w, i, s.AvailableWidth) })
	}
	b.bar = b.AddBar(0,
		mpb.BarTopExtender(lines...),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.current.Load().before })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.current.Load().after })),
	)
	b.ended.Go(func() { b.run(from) })
	return b
}

// run asks the source until stop.
func (b *bars) run(from source) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-b.end:
			return
		case <-ticker.C:
			v := b.update(from)
			// One more than expected: the bar is not to complete before the work does.
			b.bar.SetTotal(max(v.total, v.done)+1, false)
			b.bar.SetCurrent(v.done)
		}
	}
}

func (b *bars) update(from source) view {
	v := from.view()
	b.current.Store(&v)
	return v
}

// line writes the line above the bar that is i-th, or nothing.
func (b *bars) line(w io.Writer, i, width int) error {
	members := b.current.Load().members
	if i >= len(members) {
		return nil
	}
	_, err := io.WriteString(w, terminal.Cut(members[i], width)+"\n")
	return err
}

// stop removes what is drawn.
func (b *bars) stop() {
	close(b.end)
	b.ended.Wait()
	b.bar.Abort(true)
	b.Wait()
}
