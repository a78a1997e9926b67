package node

import (
	"fmt"
	"slices"
	"time"
)

// What was, or would be, done to files.
var (
	didVerbs   = [4]string{"wrote", "removed", "restored", "left"}
	wouldVerbs = [4]string{"would write", "would remove", "would restore", "would leave"}
)

// Lines lists the files with what was done to them, a line each.
func (c Changes) Lines() []string { return c.lines(didVerbs) }

func (c Changes) lines(verbs [4]string) (lines []string) {
	for i, paths := range [...][]string{c.Wrote, c.Removed, c.Restored, c.Left} {
		for _, path := range paths {
			lines = append(lines, verbs[i]+" "+path)
		}
	}
	return lines
}

// Plan says in lines what an installation, of which this is a dry run, would be
// for, and what it would do.
func (r Result) Plan() []string { return append(r.about(), r.lines(wouldVerbs)...) }

// Report says in lines what was done, and the steps that only the administrator can
// take.
func (r Result) Report(root string) (lines []string) {
	if !r.Repeated {
		lines = r.about()
	}
	lines = append(lines, r.Lines()...)
	switch changed := len(r.Paths()) > 0; {
	case r.Repeated && !changed:
		lines = append(lines, fmt.Sprintf("the certificates are good until %s; nothing changed", r.Until.Format(time.DateOnly)))
	case !changed:
		lines = append(lines, "installed already; nothing changed")
	}
	return append(lines, r.next(root)...)
}

// about says what the installation is for.
func (r Result) about() []string {
	lines := slices.Clone(r.Does)
	for _, note := range r.Notes {
		lines = append(lines, "note: "+note)
	}
	return lines
}
