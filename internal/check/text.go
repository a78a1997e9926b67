package check

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Print writes the report as text, with colours where out is a terminal. Errors:
// those of out.
func (r *Report) Print(out io.Writer) error {
	var b bytes.Buffer
	screen := terminal.Of(out)
	fmt.Fprintf(&b, "%s\n\n", screen.Text(terminal.Strong, r.title()))
	_ = r.repositories().Print(&b, screen) // into memory
	fmt.Fprintln(&b)
	if len(r.Members) > 0 {
		_ = r.memberTable().Print(&b, screen)
		fmt.Fprintln(&b)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(&b, screen.Lead(terminal.Bad, "finding: "+f.about()+f.Message))
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, screen.Lead(terminal.Warning, "warning: "+w.about()+w.Message))
	}
	fmt.Fprintln(&b, screen.Text(styles[r.Complete], r.verdict()))
	_, err := b.WriteTo(out)
	return err
}

// styles are those of what is as it should be, and of what is not.
var styles = map[bool]terminal.Style{true: terminal.Good, false: terminal.Bad}

// repositories is the table of what the credentials give access to.
func (r *Report) repositories() terminal.Table {
	table := terminal.Table{terminal.Cells("repository", "credential", "access")}
	for _, repository := range r.Repositories {
		row := terminal.Cells(repository.Repository, repository.Credential, repository.access())
		row[2].Style = styles[repository.Status == "ok"]
		table = append(table, row)
	}
	return table
}

// memberTable is the table of where members were found.
func (r *Report) memberTable() terminal.Table {
	table := terminal.Table{terminal.Cells("member", "platform", "found", "size", "blobs")}
	table[0][3].Right = true
	for _, m := range r.Members {
		row := terminal.Cells(m.cells()...)
		row[3].Right = true
		if m.Status != "ok" {
			row[4].Style = terminal.Bad
		}
		table = append(table, row)
	}
	return table
}

// title is the root in a line.
func (r *Report) title() string {
	if r.Root.Digest == "" {
		return r.Root.Ref
	}
	return bundle.WithDigest(r.Root.Ref, r.Root.Digest) + "  " + oci.Kind(r.Root.MediaType, "") + "  " + amount.Bytes(r.Root.Size)
}

// verdict is the last line.
func (r *Report) verdict() string {
	if !r.Complete {
		return "incomplete: " + amount.Count(len(r.Findings), "finding")
	}
	return fmt.Sprintf("complete: %s, %s, %s", amount.Count(r.members, "member"), amount.Count(r.Blobs, "blob"), amount.Bytes(r.Bytes))
}

// access is the column with the access that the credential gives.
func (r Repository) access() string {
	switch {
	case r.Status == "denied":
		return r.Granted
	case r.Status != "ok":
		return r.Status
	case r.Granted == "pull":
		return "pull"
	}
	return "pull, without a token"
}

// cells are a member's in the table.
func (m Member) cells() []string {
	path := m.Path
	if path == "" {
		path = "."
	}
	blobs := amount.Count(m.Blobs, "blob")
	switch {
	case len(m.Missing) > 0:
		names := make([]string, len(m.Missing))
		for i, d := range m.Missing {
			names[i] = oci.Short(d)
		}
		blobs = fmt.Sprintf("%d of %s, without %s", m.Blobs-len(m.Missing), blobs, strings.Join(names, ", "))
	case m.Status != "ok":
		blobs = m.Status
	}
	return []string{path, m.Platform, m.Repository + "@" + oci.Short(m.Digest), amount.Bytes(m.Size), blobs}
}

// about names the member.
func (r Remark) about() string {
	about := strings.TrimSpace(r.Path + " " + r.Platform)
	if about == "" {
		return ""
	}
	return about + ": "
}

// short is where content is, for people.
func short(r auth.Repository, d digest.Digest) string { return r.String() + "@" + oci.Short(d) }
