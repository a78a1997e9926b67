package nested

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// maxCandidates bounds the repositories that are asked for one digest
// (docs/spec.md, section 4).
const maxCandidates = 8

// place is where content may be, by what the documents said that point to it.
type place struct {
	descriptor ocispec.Descriptor
	targets    []auth.Repository // asked first, in order of appearance
	fallbacks  []auth.Repository // asked when every target answered 404
	depth      int               // steps from the root
	strict     bool              // reached through a nested index
	entry      bool              // an entry of an index
	carried    bool              // an index that is stored as a blob
}

// trail remembers, for one pull, where content may be and what the documents
// hold that passed through.
type trail struct {
	root   auth.Repository
	reader reader

	mu        sync.Mutex
	places    map[digest.Digest]place
	order     []digest.Digest // of the documents among them
	documents map[digest.Digest]document
	held      map[digest.Digest][]byte // documents that were fetched while resolving
}

func newTrail(root auth.Repository, r reader) *trail {
	return &trail{
		root:      root,
		reader:    r,
		places:    map[digest.Digest]place{},
		documents: map[digest.Digest]document{},
		held:      map[digest.Digest][]byte{},
	}
}

// start puts the root on the trail.
func (t *trail) start(root ocispec.Descriptor, carried bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(place{descriptor: root, targets: []auth.Repository{t.root}, carried: carried, strict: carried})
}

// hold keeps the bytes of a document, if they are that document.
func (t *trail) hold(d ocispec.Descriptor, data []byte) {
	if verify(d, data) != "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[d.Digest] = data
}

// take gives held bytes away: who fetches them has them.
func (t *trail) take(d digest.Digest) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, ok := t.held[d]
	delete(t.held, d)
	return data, ok
}

func (t *trail) heldBytes(d digest.Digest) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, ok := t.held[d]
	return data, ok
}

func (t *trail) place(d digest.Digest) (place, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.places[d]
	return p, ok
}

func (t *trail) document(d digest.Digest) (document, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	doc, ok := t.documents[d]
	return doc, ok
}

// empty tells that not even the root is on the trail.
func (t *trail) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.places) == 0
}

// unread returns the places of documents that have not been read, in the
// order in which they appeared.
func (t *trail) unread() []place {
	t.mu.Lock()
	defer t.mu.Unlock()
	var unread []place
	for _, d := range t.order {
		if _, ok := t.documents[d]; !ok {
			unread = append(unread, t.places[d])
		}
	}
	return unread
}

// learn reads a verified document and puts what it points to on the trail,
// with the documents that are embedded in its descriptors. served is the
// repository that served it, the zero value when it came from elsewhere.
// Errors are of type [InvalidError].
func (t *trail) learn(p place, data []byte, served auth.Repository) error {
	doc, err := t.reader.read(p.descriptor.MediaType, data, p.strict)
	if err != nil {
		return p.invalid(err)
	}
	embedded, err := t.follow(p, doc, served)
	if err != nil {
		return err
	}
	for _, e := range embedded {
		if err := t.learn(e, e.descriptor.Data, served); err != nil {
			return err
		}
	}
	return nil
}

// follow puts the entries of a document on the trail, and returns those that
// are documents embedded in their descriptors.
func (t *trail) follow(p place, doc document, served auth.Repository) (embedded []place, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.documents[p.descriptor.Digest]; ok {
		return nil, nil
	}
	if known, ok := t.places[p.descriptor.Digest]; ok {
		p = known
	}
	for i, e := range doc.entries {
		next, err := p.next(e, doc.nested, served)
		if err == nil {
			err = t.checkLimits(next)
		}
		if err == nil && e.Carried {
			err = t.reader.checkDescriptor(e.Descriptor, true)
		}
		if err != nil && next.entry {
			err = &positionError{i, err}
		}
		if err != nil {
			return nil, p.invalid(err)
		}
		t.put(next)
		if e.Carried && p.depth == 0 && len(e.Data) > 0 {
			t.held[e.Digest] = e.Data // the root: Resolve returns it, and Fetch will be asked for it
		}
		if len(e.Data) > 0 && isDocument(e.MediaType) && verify(e.Descriptor, e.Data) == "" {
			embedded = append(embedded, next)
		}
	}
	for i, e := range doc.entries {
		doc.entries[i].Descriptor = lean(e.Descriptor)
		if !p.strict && !doc.nested {
			doc.entries[i].URLs = e.URLs // plain content may be where containerd finds it
		}
	}
	t.documents[p.descriptor.Digest] = doc
	return embedded, nil
}

// invalid is the error about the document at this place.
func (p place) invalid(err error) error {
	invalid := &InvalidError{Digest: p.descriptor.Digest, In: p.targets[0], Position: -1, Err: err}
	var at *positionError
	if errors.As(err, &at) {
		invalid.Position, invalid.Err = at.position, at.error
	}
	return invalid
}

// next is the rule of docs/spec.md section 4: where an entry of the document
// at this place may be. The document is at its targets whatever repository
// served it; the place that served a copy comes last.
func (p place) next(e Entry, nested bool, served auth.Repository) (place, error) {
	next := place{
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
		at, copies = []auth.Repository{served}, nil
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

// checkLimits keeps what is reached through a nested index within bounds. The
// caller holds the lock.
func (t *trail) checkLimits(p place) error {
	limits := t.reader.limits
	_, known := t.places[p.descriptor.Digest]
	switch {
	case !p.strict:
		return nil
	case p.depth > limits.Depth:
		return fmt.Errorf("more than %d steps from the root", limits.Depth)
	case !known && len(t.places) >= limits.Descriptors:
		return fmt.Errorf("more than %d descriptors in one pull", limits.Descriptors)
	}
	return nil
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

// put adds a place, or adds candidates to one that is known. The caller holds
// the lock.
func (t *trail) put(p place) {
	d := p.descriptor.Digest
	known, ok := t.places[d]
	if !ok {
		known = p
		known.descriptor = lean(p.descriptor)
		known.targets, known.fallbacks = nil, nil
		if isDocument(p.descriptor.MediaType) {
			t.order = append(t.order, d)
		}
	}
	known.targets = union(known.targets, p.targets)
	known.fallbacks = union(known.fallbacks, p.fallbacks)
	known.strict = known.strict || p.strict
	t.places[d] = known
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
