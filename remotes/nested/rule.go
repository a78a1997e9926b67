package nested

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Rule reads documents and says where what they point to may be
// (docs/spec.md, sections 2 to 5). It asks nobody and remembers nothing. The
// zero value is no rule; others come from [NewRule].
type Rule struct {
	keys   Keys
	limits Limits
}

// NewRule returns the rule with these keys and limits, or with the defaults
// for those that are zero.
func NewRule(keys Keys, limits Limits) Rule {
	if keys.Annotations == nil && keys.Properties == nil {
		keys = DefaultKeys
	}
	return Rule{keys: keys, limits: limits.withDefaults()}
}

// Limits returns the rule's limits.
func (r Rule) Limits() Limits { return r.limits }

// maxCandidates bounds the repositories that are asked for one digest
// (docs/spec.md, section 4).
const maxCandidates = 8

// Place says where content may be, by what the documents said that point to
// it.
type Place struct {
	By         auth.Repository // where the document was found that says so
	Descriptor ocispec.Descriptor
	Targets    []auth.Repository // asked first, in order of appearance
	Fallbacks  []auth.Repository // asked when every target answered 404
	Depth      int               // steps from the root
	Strict     bool              // reached through a nested index
	Entry      bool              // an entry of an index
	Carried    bool              // an index that is stored as a blob
}

// PlaceIn is the place of content in one repository.
func PlaceIn(in auth.Repository, desc ocispec.Descriptor) Place {
	return Place{By: in, Descriptor: desc, Targets: []auth.Repository{in}}
}

// first is where the content is asked for first; the zero value in a Place that
// has no candidates, which nothing in it forbids.
func (p Place) first() auth.Repository {
	if len(p.Targets) == 0 {
		return auth.Repository{}
	}
	return p.Targets[0]
}

// Merge adds the candidates of another place of the same content after the
// place's own, as long as there is room.
func (p Place) Merge(other Place) Place {
	p.Targets = union(p.Targets, other.Targets)
	p.Fallbacks = union(p.Fallbacks, other.Fallbacks)
	p.Strict = p.Strict || other.Strict
	return p
}

// Follow reads a verified document at a place, and returns the places of what
// it points to, in its order, each before those of what is embedded in its
// descriptor. served is the repository that served the document. nested tells
// that it is an index that states a child namespace. Errors are of type
// [InvalidError]; a plain document that cannot be read points to nothing. A
// place without candidates is where it was served.
func (r Rule) Follow(p Place, data []byte, served auth.Repository) (found []Place, nested bool, err error) {
	if len(p.Targets) == 0 {
		p.Targets = []auth.Repository{served}
	}
	doc, err := r.read(p.Descriptor.MediaType, data, p.Strict)
	if err != nil {
		return nil, doc.nested, p.invalid(err)
	}
	places, err := r.places(p, doc, served)
	if err != nil {
		return nil, doc.nested, err
	}
	for _, next := range places {
		found = append(found, next)
		if next.embedded() {
			below, _, err := r.Follow(next, next.Descriptor.Data, served)
			if err != nil {
				return nil, doc.nested, err
			}
			found = append(found, below...)
		}
	}
	return found, doc.nested, nil
}

// places returns the places of a document's entries, in their order.
func (r Rule) places(p Place, doc document, served auth.Repository) ([]Place, error) {
	places := make([]Place, len(doc.entries))
	for i, e := range doc.entries {
		next, err := p.next(e, doc.nested, served)
		switch {
		case err != nil:
		case next.Strict && next.Depth > r.limits.Depth:
			err = fmt.Errorf("more than %d steps from the root", r.limits.Depth)
		case e.Carried:
			err = r.checkDescriptor(e.Descriptor, true)
		}
		if err != nil {
			return nil, p.invalid(next.at(i, err))
		}
		places[i] = next
	}
	return places, nil
}

// at adds the position to an error about an entry of manifests[].
func (p Place) at(position int, err error) error {
	if !p.Entry {
		return err
	}
	return &positionError{position, err}
}

// embedded tells whether the place's content is a document that its
// descriptor holds.
func (p Place) embedded() bool {
	d := p.Descriptor
	return len(d.Data) > 0 && oci.IsManifestOrIndex(d.MediaType) && oci.Verify(d, d.Data) == ""
}

// next is the rule of docs/spec.md section 4: where an entry of the document
// at this place may be. The document is at its targets whatever repository
// served it; the place that served a copy comes last.
func (p Place) next(e Entry, nested bool, served auth.Repository) (Place, error) {
	next := Place{
		By:         p.Speaks(),
		Descriptor: e.Descriptor,
		Depth:      p.Depth,
		Strict:     p.Strict || nested || e.Carried,
		Carried:    e.Carried,
		Entry:      images.IsIndexType(p.Descriptor.MediaType),
	}
	if next.Entry {
		next.Depth++
	}
	at := p.Targets
	copies := p.Fallbacks
	if slices.Contains(p.Targets, served) {
		at, copies = union([]auth.Repository{served}, p.Targets), nil
	} else if served != (auth.Repository{}) {
		copies = []auth.Repository{served}
	}
	for _, parent := range at {
		target, err := e.Child.In(parent)
		if err != nil {
			return next, err
		}
		next.Targets = append(next.Targets, target)
		if target != parent {
			next.Fallbacks = append(next.Fallbacks, parent)
		}
	}
	next.Fallbacks = append(next.Fallbacks, copies...)
	return next, nil
}

// Speaks is the repository for which a document at the place speaks: the first
// of its targets that is below no other.
func (p Place) Speaks() auth.Repository {
	if len(p.Targets) == 0 {
		return auth.Repository{}
	}
	return slices.MinFunc(p.Targets, func(a, b auth.Repository) int { return strings.Count(a.Name(), "/") - strings.Count(b.Name(), "/") })
}

// invalid is the error about the document at this place.
func (p Place) invalid(err error) error {
	invalid := &InvalidError{Digest: p.Descriptor.Digest, In: p.first(), Position: -1, Err: err}
	var at *positionError
	if errors.As(err, &at) {
		invalid.Position, invalid.Err = at.position, at.error
	}
	return invalid
}

// MediaTypes are the media types to ask with, one after the other. docker's
// fetcher asks for a manifest or index under /manifests/ and for everything
// else under /blobs/, where strict registries keep nested indexes
// (docs/spec.md, section 8).
func (p Place) MediaTypes() []string {
	const blob = "application/octet-stream"
	switch {
	case p.Carried:
		return []string{blob}
	case p.Strict && p.Entry && images.IsIndexType(p.Descriptor.MediaType):
		return []string{p.Descriptor.MediaType, blob}
	case p.Strict && p.Entry && !oci.IsManifestOrIndex(p.Descriptor.MediaType):
		return []string{p.Descriptor.MediaType, ocispec.MediaTypeImageManifest}
	}
	return []string{p.Descriptor.MediaType}
}

// errNowhere is of a place without candidates.
var errNowhere = fmt.Errorf("no repository to ask: %w", errdefs.ErrNotFound)

// Ask asks the candidates for content in their order (docs/spec.md, section 4)
// until one answers, and returns that one. The fallbacks are asked only when
// every target answered 404 (errdefs.ErrNotFound); whatever is neither an
// absence nor a denial ends the search. root is the repository of the root.
// Errors are of type [Error], or the only answer itself when that is the
// root's.
func (p Place) Ask(root auth.Repository, ask func(auth.Repository) error) (auth.Repository, error) {
	p.By = root
	_, served, err := Places{p}.Ask(context.Background(), root, nil, func(_ Place, candidate auth.Repository) error { return ask(candidate) })
	return served, err
}

// smallData is what of a descriptor's data is worth keeping: empty configs.
const smallData = 64

// lean is a descriptor without what may be large and is not needed to fetch
// the content: a pull keeps the descriptors of all its documents.
func lean(d ocispec.Descriptor) ocispec.Descriptor {
	kept := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
	if len(d.Data) <= smallData {
		kept.Data = d.Data
	}
	if p := d.Platform; p != nil {
		kept.Platform = &ocispec.Platform{Architecture: p.Architecture, OS: p.OS, OSVersion: p.OSVersion, Variant: p.Variant}
	}
	return kept
}

// union appends what is new, as long as there is room.
func union(to, from []auth.Repository) []auth.Repository {
	for _, r := range from {
		if len(to) < maxCandidates && !slices.Contains(to, r) {
			to = append(slices.Clip(to), r)
		}
	}
	return to
}
