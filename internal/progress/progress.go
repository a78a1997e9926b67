// Package progress shows how far a pull or a copy is, to people at a terminal and in logs.
package progress

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

// Progress shows how far a pull is: a bar on a terminal, a line for each member
// elsewhere. It implements bundle.Progress.
type Progress struct {
	out      io.Writer
	quiet    bool
	metrics  *registry.Metrics
	expected atomic.Int64
	members  atomic.Int64

	bars *mpb.Progress // on a terminal
	bar  *mpb.Bar
	end  chan struct{}
}

// IsTerminal reports whether a writer is a terminal. One without a width has no
// room for a bar.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

// New begins to show progress, until Stop: bytes are those that the metrics
// count. When a program reads the output it does so only on a terminal.
func New(out io.Writer, quiet, programReads bool, metrics *registry.Metrics) *Progress {
	quiet = quiet || programReads && !IsTerminal(out)
	p := &Progress{out: out, quiet: quiet, metrics: metrics, end: make(chan struct{})}
	if quiet || !IsTerminal(out) {
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

// update moves the bar until Stop. The total is one more than expected, so that
// the bar does not complete before the pull does.
func (p *Progress) update() {
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
func (p *Progress) Expect(bytes int64) { p.expected.Add(bytes) }

// Member implements bundle.Progress.
func (p *Progress) Member(n *bundle.Node) {
	p.members.Add(1)
	if !p.quiet && p.bars == nil {
		fmt.Fprintln(p.out, sanitize.Text(fmt.Sprintf("%s %s", n.Repository, n.Digest)))
	}
}

// Stop removes the bar, so that the result or error is not mixed with it.
func (p *Progress) Stop() {
	close(p.end)
	if p.bars != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
