package nested

import (
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// trail remembers, for one pull, where content may be and what the documents
// hold that passed through.
type trail struct {
	root auth.Repository
	rule Rule

	mu        sync.Mutex
	places    map[digest.Digest]Place
	order     []digest.Digest // of the documents among them
	documents map[digest.Digest]document
	held      map[digest.Digest][]byte // documents that were fetched while resolving
}

func newTrail(root auth.Repository, r Rule) *trail {
	return &trail{
		root:      root,
		rule:      r,
		places:    map[digest.Digest]Place{},
		documents: map[digest.Digest]document{},
		held:      map[digest.Digest][]byte{},
	}
}

// start puts the root on the trail.
func (t *trail) start(root ocispec.Descriptor, carried bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(Place{Descriptor: root, Targets: []auth.Repository{t.root}, Carried: carried, Strict: carried})
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

func (t *trail) place(d digest.Digest) (Place, bool) {
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
func (t *trail) unread() []Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	var unread []Place
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
func (t *trail) learn(p Place, data []byte, served auth.Repository) error {
	doc, err := t.rule.read(p.Descriptor.MediaType, data, p.Strict)
	if err != nil {
		return p.invalid(err)
	}
	embedded, err := t.follow(p, doc, served)
	if err != nil {
		return err
	}
	for _, e := range embedded {
		if err := t.learn(e, e.Descriptor.Data, served); err != nil {
			return err
		}
	}
	return nil
}

// follow puts the entries of a document on the trail, and returns those that
// are documents embedded in their descriptors.
func (t *trail) follow(p Place, doc document, served auth.Repository) (embedded []Place, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.documents[p.Descriptor.Digest]; ok {
		return nil, nil
	}
	if known, ok := t.places[p.Descriptor.Digest]; ok {
		p = known
	}
	places, err := t.rule.places(p, doc, served)
	if err != nil {
		return nil, err
	}
	for i, next := range places {
		if err := t.checkNumber(next); err != nil {
			return nil, p.invalid(next.at(i, err))
		}
		t.put(next)
		if next.Carried && p.Depth == 0 && len(next.Descriptor.Data) > 0 {
			t.held[next.Descriptor.Digest] = next.Descriptor.Data // the root: Resolve returns it, and Fetch will be asked for it
		}
		if next.embedded() {
			embedded = append(embedded, next)
		}
	}
	for i, e := range doc.entries {
		doc.entries[i].Descriptor = lean(e.Descriptor)
		if !p.Strict && !doc.nested {
			doc.entries[i].URLs = e.URLs // plain content may be where containerd finds it
		}
	}
	t.documents[p.Descriptor.Digest] = doc
	return embedded, nil
}

// checkNumber keeps what is reached through a nested index within bounds. The
// caller holds the lock.
func (t *trail) checkNumber(p Place) error {
	_, known := t.places[p.Descriptor.Digest]
	if most := t.rule.limits.Descriptors; p.Strict && !known && len(t.places) >= most {
		return fmt.Errorf("more than %d descriptors in one pull", most)
	}
	return nil
}

// put adds a place, or adds candidates to one that is known. The caller holds
// the lock.
func (t *trail) put(p Place) {
	d := p.Descriptor.Digest
	known, ok := t.places[d]
	if !ok {
		known = p
		known.Descriptor = lean(p.Descriptor)
		known.Targets, known.Fallbacks = nil, nil
		if IsDocument(p.Descriptor.MediaType) {
			t.order = append(t.order, d)
		}
	}
	t.places[d] = known.Merge(p)
}
