package doctor

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/auth"
)

// Row is what a program of the node gets of a reference. It may contain text of
// strangers, and URLs with secrets, as [Problem] may.
type Row struct {
	Reference, Program string
	Way                string // whom the program asks, and what says so
	Result             string
	Next               string // a command or a setting; may be empty
	Failed             bool
}

// Table is a row for each reference and each way of a program.
type Table []Row

// maxResult bounds results, in characters: they quote registries.
const maxResult = 400

// Print writes the table, escaped and redacted, with colours where out is a
// terminal. Errors: those of out.
func (t Table) Print(out io.Writer) error {
	several := slices.ContainsFunc(t, func(r Row) bool { return r.Reference != t[0].Reference })
	table := terminal.Table{terminal.Cells("reference", "program", "way", "result", "next step")}
	for _, r := range t {
		row := terminal.Cells(r.Reference, r.Program, r.Way, r.Result, r.Next)
		if result := []rune(r.Result); len(result) > maxResult {
			row[3].Text = string(append(result[:maxResult], '…'))
		}
		if r.Failed {
			row[3].Style = terminal.Bad
		}
		for i := range row {
			row[i].Text = sanitize.URLs(row[i].Text)
		}
		table = append(table, row)
	}
	if !several {
		for i := range table {
			table[i] = table[i][1:]
		}
	}
	return table.Print(out, terminal.Of(out))
}

// pullAll pulls each reference on each way, and shows the table. reported are the
// problems that have a line, which the table does not repeat.
func (d *doctor) pullAll(ctx context.Context, reported []Problem) (failed bool) {
	var table Table
	for _, ref := range d.References {
		table = slices.Concat(table, d.rows(ctx, ref), d.rowsOfPlugin(ref), d.rowsOfOthers(ref))
	}
	for i, r := range table {
		at := slices.IndexFunc(reported, func(p Problem) bool { return r.Failed && Problem{What: r.Result}.follows(p) })
		if at >= 0 {
			table[i].Result, table[i].Next = "not pulled: the problem above says why", reported[at].Fix
		}
	}
	if d.Table != nil && len(table) > 0 {
		d.Table(table)
	}
	return slices.ContainsFunc(table, func(r Row) bool { return r.Failed })
}

// rows are those of the programs that are installed for, which pull at the same
// time: the gateway asks the registry once for all.
func (d *doctor) rows(ctx context.Context, ref auth.Reference) []Row {
	ways := d.waysTo(ref.Repository().Host())
	rows := make([]Row, len(ways))
	var pulls sync.WaitGroup
	for i, w := range ways {
		pulls.Go(func() {
			rows[i] = d.rowOf(ctx, w, ref)
			rows[i].Program, rows[i].Way = programName(w.program), w.says
		})
	}
	pulls.Wait()
	return rows
}

func (d *doctor) rowOf(ctx context.Context, w way, ref auth.Reference) Row {
	failed := func(p Problem) Row { return Row{Reference: ref.String(), Result: p.What, Next: p.Fix, Failed: true} }
	if p := d.checkServed(ref); p != nil {
		return failed(*p)
	}
	if s := d.stopOf(w, ref.Repository().String()); s != nil {
		r := failed(s.Problem)
		r.Failed = !s.fine
		return r
	}
	if d.silent != nil {
		return failed(*d.silent)
	}
	c := w.client(d.config.Gateway.Address)
	if c == nil {
		return failed(Problem{"its certificates for the gateway cannot be read", d.installCommand()})
	}
	defer c.http.CloseIdleConnections()
	p := &pull{doctor: d, client: c, way: w, from: ref.Repository()}
	if err := p.logIn(ctx); err != nil {
		return failed(problemsOf(err, "correct the file, or log in again")[0])
	}
	p.run(ctx, ref)
	return p.row(ref)
}

// programName names a program, for people.
func programName(program string) string {
	if program == node.Containers {
		return program + " (podman, buildah, skopeo, CRI-O)"
	}
	return program
}

// rowsOfPlugin are those of containerds with the plugin inside, which asks no
// gateway, and which only containerd can ask.
func (d *doctor) rowsOfPlugin(ref auth.Reference) []Row {
	var all []Row
	for _, c := range d.daemons() {
		files, err := d.containerdFiles(c.config)
		if err != nil {
			continue // checkRoots says it
		}
		for _, f := range files {
			if f.nested {
				all = append(all, Row{ref.String(), cmp.Or(c.in, node.Containerd), "plugin, in " + f.path,
					"not asked: where the plugin is in containerd, it asks the registry itself", "nestctl check " + ref.String() + ", or pull it with ctr", false})
			}
		}
	}
	return all
}

// rowsOfOthers are those of programs that are on the node and not installed for.
func (d *doctor) rowsOfOthers(ref auth.Reference) []Row {
	found, err := d.installation.Others(d.Root)
	if err != nil {
		return nil // checkRecord says it
	}
	var all []Row
	for _, f := range found {
		next := Problem{"", d.installFor(f.Name)}
		if f.Unfit != nil {
			next = problemsOf(f.Unfit, "")[0]
			next.What = ": " + next.What
		}
		all = append(all, Row{ref.String(), programName(f.Name), "not installed for, found by " + f.Path, "does not ask the gateway" + next.What, next.Fix, false})
	}
	return all
}
