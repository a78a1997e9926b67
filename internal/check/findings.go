package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// unresolved is the report on a reference that cannot be resolved.
func unresolved(ctx context.Context, a *access, ref auth.Reference, err error) *Report {
	repository := ref.Repository()
	a.noteRead(ctx, repository, repository, err)
	next := nextStep(err)
	if classOf(err) == notFound {
		next = "push it, or check the tag"
	}
	r := newReport(ref.String())
	r.find(&bundle.Node{Repository: repository}, repository, "", err, next)
	r.Repositories = append(r.Repositories, a.report(ctx, repository))
	return r
}

// report puts the results together.
func (c *checker) report(ctx context.Context, ref auth.Reference, walked *bundle.Walked, parts []*part) *Report {
	r, root := newReport(ref.String()), walked.Root
	r.Root = Root{ref.String(), root.Digest, root.MediaType, root.Size}
	for _, p := range parts {
		if c.selection.MatchesMember(p.Namespace) && !images.IsIndexType(p.MediaType) || p.err != nil {
			r.Members = append(r.Members, c.member(p))
		}
		c.findings(r, p)
		c.warnings(ctx, r, p)
	}
	for _, repository := range c.repositories(parts) {
		r.Repositories = append(r.Repositories, c.access.report(ctx, repository))
	}
	r.Complete, r.members = len(r.Findings) == 0, len(walked.MemberNodes())
	r.add(parts)
	return r
}

// add counts content.
func (r *Report) add(parts []*part) {
	sizes, blobs := map[digest.Digest]int64{}, map[digest.Digest]bool{}
	for _, p := range parts {
		sizes[p.Digest] = p.Size
		for _, b := range p.blobs {
			sizes[b.Digest], blobs[b.Digest] = b.Size, true
			sizes[b.of.Digest] = b.of.Size
		}
	}
	for size := range maps.Values(sizes) {
		r.Bytes += size
	}
	r.Blobs = len(blobs)
}

// member is a line about a part.
func (c *checker) member(p *part) Member {
	m := Member{
		Path:         p.Namespace,
		Repository:   c.where(p).String(),
		Digest:       p.Digest,
		MediaType:    p.MediaType,
		ArtifactType: p.ArtifactType,
		Platform:     bundle.PlatformOf(p.Platform),
		Missing:      []digest.Digest{},
	}
	if oci.IsManifestOrIndex(p.MediaType) {
		m.Size = p.Size
	}
	m.Status = "ok"
	if p.err != nil {
		m.Status = classOf(p.err).String()
	}
	for _, b := range p.blobs {
		if b.of != p.Node {
			continue // a carrier's
		}
		m.Blobs++
		m.Size += b.Size
		if b.err != nil && !b.mayBeElsewhere() {
			m.Missing = append(m.Missing, b.Digest)
			if m.Status = "incomplete"; !oci.IsManifestOrIndex(p.MediaType) {
				m.Status = classOf(b.err).String()
			}
		}
	}
	return m
}

// where is the repository that has a part, or should have it.
func (c *checker) where(p *part) auth.Repository {
	if !oci.IsManifestOrIndex(p.MediaType) {
		for _, b := range p.blobs {
			if b.served != (auth.Repository{}) {
				return b.served
			}
		}
	}
	return c.bundle.Found(p.Node)
}

// findings adds what is missing or cannot be read.
func (c *checker) findings(r *Report, p *part) {
	if p.err != nil {
		r.find(p.Node, c.where(p), p.Digest, p.err, nextStep(p.err))
	}
	for _, b := range p.blobs {
		if b.err != nil && !b.mayBeElsewhere() {
			r.find(p.Node, c.bundle.Found(b.of), b.Digest, b.err, nextStep(b.err))
		}
	}
}

// mayBeElsewhere reports whether a blob may be missing: it must not be
// distributed, or a plain image names other places for it.
func (b *blob) mayBeElsewhere() bool {
	return b.err != nil && (len(b.URLs) > 0 || bundle.IsNonDistributable(b.MediaType)) && classOf(b.err) == notFound
}

// warnings adds the problems that others would have.
func (c *checker) warnings(ctx context.Context, r *Report, p *part) {
	in := c.where(p)
	warn := func(d digest.Digest, format string, args ...any) {
		message := sanitize.URLs(fmt.Sprintf(format, args...))
		r.Warnings = append(r.Warnings, Remark{"warning", p.Namespace, bundle.PlatformOf(p.Platform), in.String(), d, message})
	}
	if c.isRefusable(ctx, p) {
		warn(p.Digest, "%s is stored as an index, and its members belong to other repositories%s; registries that require "+
			"members to be present refuse it; nestctl copy and nestctl index create use a carrier there", short(in, p.Digest), c.whichApart(p))
	}
	if p.err == nil && isCopy(p.Node, in) {
		warn(p.Digest, "%s was found only as a copy in %s; clients fall back to it, with that repository's access rights; push it to its own",
			short(p.Repository, p.Digest), in)
	}
	if p.subjectErr != nil {
		warn(p.Digest, "%s refers to a subject that is not in its repository: %v; push the subject there, too", short(in, p.Digest), p.subjectErr)
	}
	for _, b := range p.blobs {
		home := c.bundle.Found(b.of)
		switch {
		case b.mayBeElsewhere():
			warn(b.Digest, "%s is not there; clients get it from %s", short(home, b.Digest), cmp.Or(strings.Join(b.URLs, ", "), "elsewhere, because it must not be distributed"))
		case b.err == nil && b.served != home && home == b.of.Repository && oci.IsManifestOrIndex(b.of.MediaType):
			warn(b.Digest, "%s is not there, only in %s; pulling this member alone fails; push the member again", short(home, b.Digest), b.served)
		}
	}
}

// isCopy reports whether a member was found in a repository above its own.
func isCopy(n *bundle.Node, found auth.Repository) bool {
	return strings.HasPrefix(n.Repository.String(), found.String()+"/")
}

// isRefusable reports whether a part is an index that registries refuse which
// check that members exist.
func (c *checker) isRefusable(ctx context.Context, p *part) bool {
	_, carried := c.bundle.Fetcher.Carrier()
	if p.IsRoot && (carried || c.rootIsBlob) || !c.membersApart(ctx, p.Node) {
		return false
	}
	return !c.strict || len(p.apart) > 0
}

// whichApart says which members of an index are not in its repository.
func (c *checker) whichApart(p *part) string {
	if c.strict {
		return "; not in this one: " + strings.Join(p.apart, ", ")
	}
	return " (--strict also checks that they are in this one)"
}

// repositories are those that were used, in the order of the bundle.
func (c *checker) repositories(parts []*part) []auth.Repository {
	var all []auth.Repository
	listed := map[auth.Repository]bool{}
	add := func(r auth.Repository) {
		if _, used := c.access.answers[r]; used && !listed[r] {
			all = append(all, r)
			listed[r] = true
		}
	}
	for _, p := range parts {
		add(p.Repository)
	}
	for _, r := range slices.SortedFunc(maps.Keys(c.access.answers), func(a, b auth.Repository) int {
		return strings.Compare(a.String(), b.String())
	}) {
		add(r)
	}
	return all
}
