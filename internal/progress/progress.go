// Package progress shows how far a pull, a copy or a check is, to people at a
// terminal and in logs.
//
// Read the files in this order: progress.go, the [Progress] of pulls and copies,
// and [Checks], that of checks; amounts.go, what is to be moved, and how much of
// it has been; rate.go, how fast that is, and what time is left; lines.go, the
// text; bars.go, what is drawn on a terminal, and by whom.
package progress

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/meter"
)

// Progress shows how far a pull or a copy is: a bar and the members on their way
// on a terminal, a line for each member elsewhere. It implements bundle.Progress.
type Progress struct {
	out     io.Writer
	quiet   bool
	members atomic.Int64
	amounts *amounts // nil where no terminal is drawn on, as is bars
	bars    *bars
}

var _ bundle.Progress = (*Progress)(nil)

// New begins to show progress, until Stop. When a program reads the output it
// does so only on a terminal.
func New(out io.Writer, quiet, programReads bool) *Progress {
	p := &Progress{out: out, quiet: quiet || programReads && !terminal.Redraws(out)}
	if !p.quiet && terminal.Redraws(out) {
		p.amounts = newAmounts()
		p.bars = draw(out, &transfer{progress: p, rates: map[string]*window{}})
	}
	return p
}

// Write writes lines above what is drawn, for those who have something to say in
// the meantime.
func (p *Progress) Write(text []byte) (int, error) {
	if p.bars != nil {
		return p.bars.Write(text)
	}
	return p.out.Write(text)
}

// Member implements bundle.Progress.
func (p *Progress) Member(n *bundle.Node) {
	p.members.Add(1)
	if !p.quiet && p.bars == nil {
		fmt.Fprintln(p.out, sanitize.Text(fmt.Sprintf("%s %s", n.Repository, n.Digest)))
	}
}

// Expand implements bundle.Progress.
func (p *Progress) Expand(n *bundle.Node) {
	if p.amounts != nil {
		p.amounts.expand(n)
	}
}

// Begin implements bundle.Progress.
func (p *Progress) Begin(n *bundle.Node) *meter.Counter {
	if p.amounts == nil {
		return nil
	}
	return p.amounts.begin(n)
}

// End implements bundle.Progress.
func (p *Progress) End(n *bundle.Node) {
	if p.amounts != nil {
		p.amounts.end(n)
	}
}

// Stop removes what is drawn, so that the result or error is not mixed with it.
func (p *Progress) Stop() {
	if p.bars != nil {
		p.bars.stop()
	}
}

// Checks shows how far a check is, on a terminal. It implements check.Progress.
type Checks struct {
	expected, done atomic.Int64
	all            atomic.Bool // expected is all
	bars           *bars       // nil where no terminal is drawn on
}

// NewChecks begins to show progress, until Stop.
func NewChecks(out io.Writer, quiet bool) *Checks {
	c := new(Checks)
	if !quiet && terminal.Redraws(out) {
		c.bars = draw(out, &requests{checks: c})
	}
	return c
}

// Expect implements check.Progress.
func (c *Checks) Expect(parts int, all bool) {
	c.expected.Add(int64(parts))
	c.all.Store(all)
}

// Checked implements check.Progress.
func (c *Checks) Checked() { c.done.Add(1) }

// Stop removes what is drawn.
func (c *Checks) Stop() {
	if c.bars != nil {
		c.bars.stop()
	}
}
