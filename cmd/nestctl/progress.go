package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// progress shows how far a pull is: a bar on a terminal, a line for each member
// elsewhere.
type progress struct {
	out      io.Writer
	quiet    bool
	metrics  *registry.Metrics
	expected atomic.Int64
	members  atomic.Int64

	bars *mpb.Progress // on a terminal
	bar  *mpb.Bar
	end  chan struct{}
}

// isTerminal reports whether a writer is a terminal. One without a width has no
// room for a bar.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

// newProgress begins to show progress. With --format json it does so only on a
// terminal: elsewhere a program reads the output.
func newProgress(out io.Writer, quiet bool, format string, metrics *registry.Metrics) *progress {
	quiet = quiet || format == "json" && !isTerminal(out)
	p := &progress{out: out, quiet: quiet, metrics: metrics, end: make(chan struct{})}
	if quiet || !isTerminal(out) {
		return p
	}
	p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	p.bar = p.bars.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			return amount.Count(int(p.members.Load()), "member") + " "
		})),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f of % .1f")),
	)
	go p.update()
	return p
}

// update moves the bar until stop. The total is one more than expected, so that
// the bar does not complete before the pull does.
func (p *progress) update() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.end:
			return
		case <-ticker.C:
			p.bar.SetTotal(max(p.expected.Load(), p.metrics.Bytes.Load())+1, false)
			p.bar.SetCurrent(p.metrics.Bytes.Load())
		}
	}
}

// Expect implements bundle.Progress.
func (p *progress) Expect(bytes int64) { p.expected.Add(bytes) }

// Member implements bundle.Progress.
func (p *progress) Member(n *bundle.Node) {
	p.members.Add(1)
	if !p.quiet && p.bars == nil {
		fmt.Fprintln(p.out, sanitize.Text(fmt.Sprintf("%s %s", n.Repository, n.Digest)))
	}
}

// stop removes the bar, so that the result or error is not mixed with it.
func (p *progress) stop() {
	close(p.end)
	if p.bars != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
