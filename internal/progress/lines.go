package progress

import (
	"fmt"
	"strings"

	units "github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/terminal"
)

// view is what is drawn at one moment.
type view struct {
	done, total int64
	before      string   // the bar
	after       string   // the bar
	members     []string // lines above the bar
}

// source says what is to be drawn. It is asked by one goroutine.
type source interface{ view() view }

// maxLines is how many members have a line: as many as large blobs are moved at
// once by default.
const maxLines = 8

// transfer is a pull or a copy.
type transfer struct {
	progress *Progress
	rates    map[string]*window // of members on their way; "" for everything
}

func (t *transfer) view() view {
	all, members := t.progress.amounts.now()
	rates := map[string]*window{}
	measure := func(name string, a amount) string {
		w := t.rates[name]
		if w == nil {
			w = new(window)
		}
		w.add(a.moved)
		rates[name] = w
		return describe(a, w.perSecond())
	}
	v := view{
		done:   all.done,
		total:  all.total,
		before: units.Count(int(t.progress.members.Load()), "member") + " ",
		after:  " " + measure("", all),
	}
	var table terminal.Table
	for _, m := range members {
		about := measure(m.name, m.amount)
		if len(table) < maxLines {
			table = append(table, terminal.Cells(m.name, about))
		}
	}
	t.rates = rates
	v.members = table.Lines()
	return v
}

// describe is an amount and its rate, with the time that is left when everything
// that is to be moved is known.
func describe(a amount, perSecond float64) string {
	parts := []string{units.Bytes(a.done) + " of " + units.Bytes(a.total)}
	if a.unread > 0 {
		parts[0] = units.Bytes(a.done) + " of at least " + units.Bytes(a.total)
	}
	if perSecond >= 1 {
		parts = append(parts, units.Bytes(int64(perSecond))+"/s")
	}
	if rest := left(a.total-a.done, perSecond); rest != "" && a.unread == 0 {
		parts = append(parts, rest)
	}
	return strings.Join(parts, "  ")
}

// requests are those of a check.
type requests struct {
	checks *Checks
	rate   window
}

func (r *requests) view() view {
	done, expected, all := r.checks.done.Load(), r.checks.expected.Load(), r.checks.all.Load()
	r.rate.add(done)
	perSecond := r.rate.perSecond()
	v := view{done: done, total: expected, after: fmt.Sprintf(" %d of %s", done, units.Count(int(expected), "part"))}
	if !all {
		v.after = fmt.Sprintf(" %d of at least %s", done, units.Count(int(expected), "part"))
	}
	if perSecond >= 1 {
		v.after += fmt.Sprintf("  %.0f/s", perSecond)
	}
	if rest := left(expected-done, perSecond); rest != "" && all {
		v.after += "  " + rest
	}
	return v
}
