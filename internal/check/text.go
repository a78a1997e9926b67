package check

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Print writes the report as text. Errors: those of out.
func (r *Report) Print(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, sanitize.Text(r.title()))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = sanitize.Text(cells[i])
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	fmt.Fprintln(&b)
	row("repository", "credential", "access")
	for _, repository := range r.Repositories {
		row(repository.Repository, repository.Credential, repository.access())
	}
	_ = table.Flush() // into memory
	fmt.Fprintln(&b)
	if len(r.Members) > 0 {
		row("member", "platform", "found", "size", "blobs")
	}
	for _, m := range r.Members {
		row(m.cells()...)
	}
	_ = table.Flush()
	if len(r.Members) > 0 {
		fmt.Fprintln(&b)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(&b, sanitize.Text("finding: "+f.about()+f.Message))
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, sanitize.Text("warning: "+w.about()+w.Message))
	}
	fmt.Fprintln(&b, r.verdict())
	_, err := b.WriteTo(out)
	return err
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
