package prune

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Options say which releases are kept. One of Keep and Older has to be set.
type Options struct {
	// Keep is how many releases are kept: the newest ones.
	Keep int
	// Older deletes the releases that were made longer ago.
	Older time.Duration
	// KeepTags are patterns of path.Match. Releases with such a tag are kept,
	// and do not count.
	KeepTags []string
	// Now is the time for Older. Releases that say a later time do not say when
	// they were made. Zero when it is not known.
	Now time.Time
}

// Check returns an error of class errdefs.ErrInvalidArgument about options that
// do not say which releases are kept.
func (o Options) Check() error {
	switch {
	case o.Keep < 0 || o.Keep == 0 && o.Older == 0:
		return usage.Optionf("keep", " %d: must be at least 1", o.Keep)
	case o.Older < 0:
		return usage.Optionf("older", " %s: must not be negative", o.Older)
	case o.Keep > 0 && o.Older > 0:
		return usage.Optionf("keep", " and --older exclude each other")
	}
	for _, pattern := range o.KeepTags {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" { // such as a variable that is not set
			return usage.Optionf("keep-tag", " %q: is not a pattern", pattern)
		}
	}
	return nil
}

// Release is a nested index, or its carrier, under one or more tags.
type Release struct {
	Digest  digest.Digest `json:"digest"` // of what the tags name
	Tags    []string      `json:"tags"`
	Created time.Time     `json:"created,omitzero"` // zero when it was not asked for, or nothing says it
}

// String is the tags, the digest, and the time if it is known.
func (r Release) String() string {
	text := strings.Join(r.Tags, " ") + " " + r.Digest.String()
	if !r.Created.IsZero() {
		text += " " + r.Created.UTC().Format(time.RFC3339)
	}
	return text
}

// State is what has become of a [Deletion].
type State string

// States of deletions.
const (
	Planned State = "planned"
	Deleted State = "deleted"
	Left    State = "left" // a tag, at a registry that deletes no single tags
)

// Kind is what a [Deletion] deletes.
type Kind string

// Kinds of deletions.
const (
	KindTag      Kind = "tag"
	KindManifest Kind = "manifest" // of an image, an artifact or a carrier
	KindIndex    Kind = "index"
	KindBlob     Kind = "blob" // an index that a carrier carried
)

// Deletion is one request to the registry.
type Deletion struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag,omitempty"`
	Digest     digest.Digest `json:"digest"` // that the tag names, too
	Kind       Kind          `json:"kind"`
	State      State         `json:"state"`

	at   auth.Repository
	goes bool // what the tag names is deleted, too
}

// String is REPOSITORY:TAG or REPOSITORY@DIGEST.
func (d Deletion) String() string {
	if d.Tag != "" {
		return d.Repository + ":" + d.Tag
	}
	return d.Repository + "@" + d.Digest.String()
}

// Line says what is done, or was done, and to what.
func (d Deletion) Line() string {
	switch d.State {
	case Deleted:
		return "deleted " + d.String()
	case Left:
		return "left " + d.String() + ": the registry deletes no single tags"
	}
	return "would delete " + d.String()
}

// Plan says what is kept and what is deleted. It is made by [New].
type Plan struct {
	Parent    string     `json:"parent"`
	OrderedBy Order      `json:"orderedBy,omitempty"` // "" when no order was needed
	Kept      []Release  `json:"kept"`                // newest first
	Removed   []Release  `json:"removed"`
	Deletions []Deletion `json:"deletions"` // in their order

	client *registry.Client
	parent auth.Repository
	tags   map[auth.Repository]map[string]digest.Digest // of all repositories concerned
}

// New reads the tags of a repository and what they name, and plans what of it is
// deleted. It changes nothing. Errors: those of requests, of
// [bundle.Bundle.Walk], and of the class errdefs.ErrFailedPrecondition when it
// cannot be known which releases are newer.
func New(ctx context.Context, client *registry.Client, parent auth.Repository, o Options) (*Plan, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := newReader(client, parent, o.Now)
	trees, err := r.tagged(ctx, parent)
	if err != nil {
		return nil, err
	}
	plan := newPlan(r)
	removed, err := plan.choose(ctx, r, trees, o)
	if err != nil || len(removed) == 0 {
		return plan, err
	}
	return plan, plan.remove(ctx, newSettling(r, trees, removed))
}

func newPlan(r *reader) *Plan {
	return &Plan{Parent: r.parent.String(), Kept: []Release{}, Removed: []Release{}, Deletions: []Deletion{}, client: r.client, parent: r.parent, tags: r.tags}
}

// remove plans what goes.
func (p *Plan) remove(ctx context.Context, s *settling) (err error) {
	if err = s.settle(ctx); err != nil {
		return err
	}
	p.Deletions, err = s.deletions(ctx)
	return err
}

// choose divides the releases of the parent.
func (p *Plan) choose(ctx context.Context, r *reader, trees map[string]*tree, o Options) (removed []*tree, err error) {
	candidates := releasesOf(trees, o.KeepTags)
	counted := slices.DeleteFunc(slices.Clone(candidates), func(c *release) bool { return c.always })
	if o.Older > 0 || len(counted) > o.Keep {
		if p.OrderedBy, err = sortReleases(ctx, r, counted, o.Keep); err != nil {
			return nil, err
		}
	}
	for i, c := range counted {
		if o.Older > 0 && o.Now.Sub(c.created) > o.Older || o.Older == 0 && i >= o.Keep {
			removed = append(removed, c.tree)
			p.Removed = append(p.Removed, c.shown())
		} else {
			p.Kept = append(p.Kept, c.shown())
		}
	}
	for _, c := range candidates {
		if c.always {
			p.Kept = append(p.Kept, c.shown())
		}
	}
	return removed, nil
}

// release is a candidate.
type release struct {
	tree    *tree
	tags    []string
	always  bool // has a tag that is always kept
	created time.Time
}

func (r *release) shown() Release { return Release{r.tree.root.digest, r.tags, r.created} }

// releasesOf are the nested indexes among what tags name, by their tags.
func releasesOf(trees map[string]*tree, keepTags []string) []*release {
	byDigest := map[digest.Digest]*release{}
	var all []*release
	for tag, t := range trees {
		if !t.nested || !isRelease(tag) {
			continue
		}
		r := byDigest[t.root.digest]
		if r == nil {
			r = &release{tree: t}
			byDigest[t.root.digest] = r
			all = append(all, r)
		}
		r.tags = append(r.tags, tag)
		r.always = r.always || slices.ContainsFunc(keepTags, func(pattern string) bool {
			matches, _ := path.Match(pattern, tag) // checked
			return matches
		})
	}
	for _, r := range all {
		slices.Sort(r.tags)
	}
	slices.SortFunc(all, func(a, b *release) int { return cmp.Compare(a.tags[0], b.tags[0]) })
	return all
}

// unknownOrder is the error when nothing says which release is newer.
func unknownOrder(format string, args ...any) error {
	return auth.Classed(errdefs.ErrFailedPrecondition, format, args...)
}

// String names a release in errors.
func (r *release) String() string {
	return fmt.Sprintf("%s (%s)", r.tags[0], oci.Short(r.tree.root.digest))
}
