package nested

import (
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Rule reads manifests and indexes and says where what they point to may be
// (docs/spec.md, sections 2 to 5). It makes no requests and remembers nothing. The
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

// Follow reads a verified manifest or index at a place, and returns the places
// of what it points to, in its order, each before those of what is embedded in
// its descriptor. served is the repository that served the manifest or index.
// nested reports whether it is an index that states a child namespace. Errors
// are of type [InvalidError]; a plain manifest or index that cannot be read
// points to nothing. The zero Place is that where it was served.
func (r Rule) Follow(p Place, data []byte, served auth.Repository) (found []Place, nested bool, err error) {
	if len(p.targets) == 0 {
		p = PlaceIn(served, p.descriptor)
	}
	m, err := r.read(p.descriptor.MediaType, data, p.strict)
	if err != nil {
		return nil, m.nested, p.invalid(err)
	}
	places, err := r.places(p, m, served)
	if err != nil {
		return nil, m.nested, err
	}
	for _, next := range places {
		found = append(found, next)
		if next.embedded() {
			below, _, err := r.Follow(next, next.descriptor.Data, served)
			if err != nil {
				return nil, m.nested, err
			}
			found = append(found, below...)
		}
	}
	return found, m.nested, nil
}

// places returns the places of the entries of a manifest or index, in their
// order.
func (r Rule) places(p Place, m parsed, served auth.Repository) ([]Place, error) {
	places := make([]Place, len(m.entries))
	for i, e := range m.entries {
		next, err := p.next(e, m.nested, served)
		switch {
		case err != nil:
		case next.strict && next.depth > r.limits.Depth:
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
	if !p.entry {
		return err
	}
	return &positionError{position, err}
}

// embedded reports whether the place's content is a manifest or index that its
// descriptor holds.
func (p Place) embedded() bool {
	d := p.descriptor
	return len(d.Data) > 0 && oci.IsManifestOrIndex(d.MediaType) && oci.Verify(d, d.Data) == ""
}

// next is the rule of docs/spec.md section 4: where an entry of the manifest or
// index at this place may be. The manifest or index is at its targets whatever
// repository served it; the place that served a copy comes last.
func (p Place) next(e Entry, nested bool, served auth.Repository) (Place, error) {
	next := Place{
		by:         p.Speaks(),
		descriptor: e.Descriptor,
		depth:      p.depth,
		strict:     p.strict || nested || e.Carried,
		carried:    e.Carried,
		entry:      images.IsIndexType(p.descriptor.MediaType),
	}
	if next.entry {
		next.depth++
	}
	at := p.targets
	copies := p.fallbacks
	if slices.Contains(p.targets, served) {
		at, copies = union([]auth.Repository{served}, p.targets), nil
	} else if served != (auth.Repository{}) {
		copies = []auth.Repository{served}
	}
	for _, parent := range at {
		target, err := e.Child.In(parent)
		if err != nil {
			return next, err
		}
		next.targets = append(next.targets, target)
		if target != parent {
			next.fallbacks = append(next.fallbacks, parent)
		}
	}
	next.fallbacks = append(next.fallbacks, copies...)
	return next, nil
}

// invalid is the error about the manifest or index at this place.
func (p Place) invalid(err error) error {
	invalid := &InvalidError{Digest: p.descriptor.Digest, In: p.First(), Position: -1, Err: err}
	var at *positionError
	if errors.As(err, &at) {
		invalid.Position, invalid.Err = at.position, at.error
	}
	return invalid
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
