package bundle

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Earlier is what the readers of a target have already: content of an earlier
// archive, for example. It may be used by several goroutines at once.
type Earlier interface {
	// Has says what is known of content that they have.
	Has(digest.Digest) (Had, bool)
	// HasIn reports whether they have it as content of a repository.
	HasIn(auth.Repository, digest.Digest) bool
	// Children returns the entries of a manifest that they have. false: nothing
	// but its digest is known, and they have all that it names.
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, bool, error)
}

// Had is content that the readers of a target have.
type Had struct {
	In string            // the earlier archive, by its name
	At []auth.Repository // some of those whose content it is
}

// Omitted is content that a target does not get, because its readers have it.
type Omitted struct {
	ocispec.Descriptor
	Had
	Members []auth.Repository // whose content it is in this bundle
}

// omitter decides what a pull leaves out (PullOptions.Since). The root, every
// index and what refers to something are always pulled: they say what belongs
// to the bundle. So is a carrier, because of the index in it.
//
// What an earlier archive has of one member is no reason to leave it out of
// another: then the source is asked whether the other has it, too, so that
// whoever unpacks the archive gives nobody more than the source would.
type omitter struct {
	since []Earlier

	mu      sync.Mutex
	omitted map[contentKey]*Omitted
}

// omit reports whether a node's content is left out.
func (o *omitter) omit(ctx context.Context, n *Node) (bool, error) {
	if n.IsRoot || images.IsIndexType(n.MediaType) || n.Aside && n.isManifestOrIndex() {
		return false, nil
	}
	for _, e := range o.since {
		had, ok := e.Has(n.Digest)
		if !ok {
			continue
		}
		if n.isManifestOrIndex() {
			entries, _, err := o.children(ctx, n)
			if err != nil || slices.ContainsFunc(entries, func(e nested.Entry) bool { return e.Carried }) {
				return false, err
			}
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.omitted[n.key()] = &Omitted{Descriptor: Bare(n.Descriptor), Had: had}
		return true, nil
	}
	return false, nil
}

// of returns what is noted about a node that is left out; nil for others.
func (o *omitter) of(n *Node) *Omitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.omitted[n.key()]
}

// unproven reports whether a node is left out, although nothing says yet that
// it is content of its member.
func (o *omitter) unproven(n *Node) bool {
	return o.of(n) != nil && !slices.ContainsFunc(o.since, func(e Earlier) bool { return e.HasIn(n.Repository, n.Digest) })
}

// note notes for whom a node is left out.
func (o *omitter) note(n *Node) {
	omitted := o.of(n)
	if omitted == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(omitted.Members, n.Repository) {
		omitted.Members = append(omitted.Members, n.Repository)
	}
}

// children are the entries of a manifest that is left out.
func (o *omitter) children(ctx context.Context, n *Node) ([]nested.Entry, bool, error) {
	for _, e := range o.since {
		if _, ok := e.Has(n.Digest); !ok {
			continue
		}
		if entries, known, err := e.Children(ctx, n.Descriptor); known || err != nil {
			return entries, known, err
		}
	}
	return nil, false, nil
}

// all are what is left out, by digest.
func (o *omitter) all() []Omitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]Omitted, 0, len(o.omitted))
	for _, omitted := range o.omitted {
		slices.SortFunc(omitted.Members, func(a, b auth.Repository) int { return strings.Compare(a.String(), b.String()) })
		all = append(all, *omitted)
	}
	slices.SortFunc(all, func(a, b Omitted) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return all
}
