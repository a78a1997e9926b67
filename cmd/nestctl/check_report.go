package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// checkReport is what check prints.
type checkReport struct {
	Root         resultRoot          `json:"root"` // of which a root that was not found has only the ref
	Whole        bool                `json:"whole"`
	Repositories []checkedRepository `json:"repositories"`
	Members      []checkedMember     `json:"members"`
	Blobs        int                 `json:"blobs"` // each once, as in bytes
	Bytes        int64               `json:"bytes"` // of blobs and documents
	Findings     []remark            `json:"findings"`
	Warnings     []remark            `json:"warnings"`

	members int // counted as pull does
	worst   error
}

// checkedRepository is what was asked of a repository and what came of it.
type checkedRepository struct {
	Repository string `json:"repository"`
	Credential string `json:"credential"` // file and key, or helper
	Scope      string `json:"scope"`      // asked for; empty when no token was
	Granted    string `json:"granted"`    // "pull", "none asked", "denied: …" or "unknown"
	Status     string `json:"status"`     // "ok", "denied", "not found" or "failed"
}

// checkedMember is an image or artifact, or an index that could not be read.
type checkedMember struct {
	Path         string          `json:"path"` // namespaces from the root; empty in its repository
	Repository   string          `json:"repository"`
	Digest       digest.Digest   `json:"digest"`
	MediaType    string          `json:"mediaType"`
	ArtifactType string          `json:"artifactType"`
	Platform     string          `json:"platform"`
	Size         int64           `json:"size"`   // with its blobs
	Status       string          `json:"status"` // "ok", "incomplete", or as that of a repository, or "invalid"
	Blobs        int             `json:"blobs"`
	Missing      []digest.Digest `json:"missing"` // blobs that cannot be had
}

// remark is a finding or a warning.
type remark struct {
	Kind       string        `json:"kind"` // "denied", "not found", "invalid", "failed"; "warning"
	Path       string        `json:"path"`
	Platform   string        `json:"platform"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	Message    string        `json:"message"` // ends in the next step
}

// brokenError is the error for a bundle that is not whole. Its class is that
// of the worst finding.
type brokenError struct {
	ref      string
	findings int
	worst    error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%s is not whole: %s", e.ref, amount.Count(e.findings, "finding"))
}

func (e *brokenError) Unwrap() error { return e.worst }

func (r *checkReport) err() error {
	if r.Whole {
		return nil
	}
	return &brokenError{r.Root.Ref, len(r.Findings), r.worst}
}

func newCheckReport(ref string) *checkReport {
	return &checkReport{
		Root:         resultRoot{Ref: ref},
		Repositories: []checkedRepository{},
		Members:      []checkedMember{},
		Findings:     []remark{},
		Warnings:     []remark{},
	}
}

// unresolved reports on a reference that leads to nothing.
func (c *checker) unresolved(ctx context.Context, ref string, err error) (*checkReport, error) {
	name, _ := bundle.SplitRef(ref)
	repository, parseErr := auth.ParseRepository(name)
	if parseErr != nil {
		return nil, parseErr
	}
	c.heard(ctx, repository, repository, err)
	next := nextStep(err)
	if rank(err) == 1 {
		next = "push it, or look for another tag"
	}
	report := newCheckReport(ref)
	report.find(&bundle.Node{Repository: repository}, repository, "", err, next)
	report.Repositories = append(report.Repositories, c.repository(ctx, repository))
	return report, nil
}

// report puts together what was found out.
func (c *checker) report(ctx context.Context, ref string, root *bundle.Node, parts []*checkedPart) *checkReport {
	r := newCheckReport(ref)
	r.Root = resultRoot{ref, root.Digest, root.MediaType, root.Size}
	for _, p := range parts {
		if c.walker.Wanted(p.Namespace) && !images.IsIndexType(p.MediaType) || p.err != nil {
			r.Members = append(r.Members, c.member(p))
		}
		c.findings(r, p)
		c.warnings(ctx, r, p, root)
	}
	for _, repository := range c.repositories(parts) {
		r.Repositories = append(r.Repositories, c.repository(ctx, repository))
	}
	r.Whole, r.members = len(r.Findings) == 0, len(c.walker.MemberNodes(root))
	r.add(parts)
	return r
}

// add counts content.
func (r *checkReport) add(parts []*checkedPart) {
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
func (c *checker) member(p *checkedPart) checkedMember {
	m := checkedMember{
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
		m.Status = kind(p.err)
	}
	for _, b := range p.blobs {
		if b.of != p.Node {
			continue // a carrier's
		}
		m.Blobs++
		m.Size += b.Size
		if b.err != nil && !b.foreign() {
			m.Missing = append(m.Missing, b.Digest)
			if m.Status = "incomplete"; !oci.IsManifestOrIndex(p.MediaType) {
				m.Status = kind(b.err)
			}
		}
	}
	return m
}

// where is the repository that has a part, or should have it.
func (c *checker) where(p *checkedPart) auth.Repository {
	if !oci.IsManifestOrIndex(p.MediaType) {
		for _, b := range p.blobs {
			if b.served != (auth.Repository{}) {
				return b.served
			}
		}
	}
	return c.walker.Found(p.Node)
}

func (c *checker) findings(r *checkReport, p *checkedPart) {
	if p.err != nil {
		r.find(p.Node, c.where(p), p.Digest, p.err, nextStep(p.err))
	}
	for _, b := range p.blobs {
		if b.err != nil && !b.foreign() {
			r.find(p.Node, c.walker.Found(b.of), b.Digest, b.err, nextStep(b.err))
		}
	}
}

// foreign reports whether a blob need not be there: it is not to be
// distributed, or a plain image says itself where else it is.
func (b *checkedBlob) foreign() bool {
	return b.err != nil && (len(b.URLs) > 0 || bundle.IsForeign(b.MediaType)) && rank(b.err) == 1
}

// find adds a finding, unless there is one about the same content of the same
// member, for another platform maybe.
func (r *checkReport) find(n *bundle.Node, in auth.Repository, d digest.Digest, err error, next string) {
	message := err.Error()
	if next != "" {
		message += "; " + next
	}
	found := remark{kind(err), n.Namespace, bundle.PlatformOf(n.Platform), in.String(), d, sanitize.URLs(message)}
	if slices.ContainsFunc(r.Findings, func(f remark) bool { return f.Path == found.Path && f.Digest == found.Digest }) {
		return
	}
	r.Findings = append(r.Findings, found)
	if r.worst == nil || rank(err) < rank(r.worst) {
		r.worst = err
	}
}

// warnings adds what others would object to.
func (c *checker) warnings(ctx context.Context, r *checkReport, p *checkedPart, root *bundle.Node) {
	in := c.where(p)
	warn := func(d digest.Digest, format string, args ...any) {
		message := sanitize.URLs(fmt.Sprintf(format, args...))
		r.Warnings = append(r.Warnings, remark{"warning", p.Namespace, bundle.PlatformOf(p.Platform), in.String(), d, message})
	}
	if c.insisted(ctx, p, root) {
		warn(p.Digest, "%s is stored as an index, and its members belong into other repositories%s; registries that insist on "+
			"members refuse it; nestctl copy and nestctl index create use a carrier there", short(in, p.Digest), c.whichApart(p))
	}
	if p.err == nil && isCopy(p.Node, in) {
		warn(p.Digest, "%s was found only as a copy in %s; clients fall back to it, with the rights on that repository; push it to its own",
			short(p.Repository, p.Digest), in)
	}
	if p.subject != nil {
		warn(p.Digest, "%s refers to a subject that is not with it: %v; push the subject there, too", short(in, p.Digest), p.subject)
	}
	for _, b := range p.blobs {
		home := c.walker.Found(b.of)
		switch {
		case b.foreign():
			warn(b.Digest, "%s is not there; clients get it from %s", short(home, b.Digest), cmp.Or(strings.Join(b.URLs, ", "), "elsewhere, as it is not to be distributed"))
		case b.err == nil && b.served != home && home == b.of.Repository && oci.IsManifestOrIndex(b.of.MediaType):
			warn(b.Digest, "%s is not there, only in %s; who pulls this member alone misses it; push the member again", short(home, b.Digest), b.served)
		}
	}
}

// insisted tells whether a part is an index that a registry would refuse which
// insists on members' presence.
func (c *checker) insisted(ctx context.Context, p *checkedPart, root *bundle.Node) bool {
	_, carried := c.Carrier()
	if p.Node == root && (carried || c.asBlob) || !c.apart(ctx, p.Node) {
		return false
	}
	return !c.strict || len(p.apart) > 0
}

func (c *checker) whichApart(p *checkedPart) string {
	if c.strict {
		return "; not in this one: " + strings.Join(p.apart, ", ")
	}
	return " (--strict asks whether they are in this one, too)"
}

// repositories are those that were asked, in the order of the bundle.
func (c *checker) repositories(parts []*checkedPart) []auth.Repository {
	var all []auth.Repository
	listed := map[auth.Repository]bool{}
	add := func(r auth.Repository) {
		if _, asked := c.access[r]; asked && !listed[r] {
			all = append(all, r)
			listed[r] = true
		}
	}
	for _, p := range parts {
		add(p.Repository)
	}
	for _, r := range slices.SortedFunc(maps.Keys(c.access), func(a, b auth.Repository) int {
		return strings.Compare(a.String(), b.String())
	}) {
		add(r)
	}
	return all
}

// repository is a line about a repository.
func (c *checker) repository(ctx context.Context, r auth.Repository) checkedRepository {
	a := c.access[r]
	line := checkedRepository{
		Repository: r.String(),
		Credential: c.credential(ctx, r),
		Scope:      c.scope(r, a),
		Granted:    "unknown",
		Status:     "ok",
	}
	var refusal *auth.DeniedError
	switch {
	case errors.As(a.err, &refusal):
		line.Granted = "denied: " + refusal.Answer
	case a.err != nil && rank(a.err) == 0:
		line.Granted = "denied: " + a.err.Error()
	case a.served && a.scheme == "":
		line.Granted = "none asked"
	case a.served:
		line.Granted = "pull"
	}
	if a.err != nil && (!a.served || rank(a.err) != 1) {
		line.Status = kind(a.err)
	}
	line.Granted = sanitize.URLs(line.Granted)
	return line
}

// scope is the scope that a repository's token was asked for with.
func (c *checker) scope(r auth.Repository, a *access) string {
	var refusal *auth.DeniedError
	switch {
	case errors.As(a.err, &refusal):
		return refusal.Scope
	case a.scheme != "Bearer":
		return ""
	}
	name := r.Name()
	if hosts := c.hosts(r); len(hosts) > 0 {
		name = hosts[0].Name // a mirror's, maybe
	}
	return "repository:" + name + ":pull"
}
