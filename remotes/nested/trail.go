package nested

import (
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// trail remembers, for one pull, where content may be and what the documents
// hold that passed through.
type trail struct {
	root auth.Repository
	rule Rule

	mu        sync.Mutex
	places    map[digest.Digest]Places
	order     []digest.Digest // of the documents among them
	documents map[digest.Digest]document
	held      map[digest.Digest][]byte // documents that were fetched while resolving
}

func newTrail(root auth.Repository, r Rule) *trail {
	return &trail{
		root:      root,
		rule:      r,
		places:    map[digest.Digest]Places{},
		documents: map[digest.Digest]document{},
		held:      map[digest.Digest][]byte{},
	}
}

// start puts the root on the trail.
func (t *trail) start(root ocispec.Descriptor, carried bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := PlaceIn(t.root, root)
	if carried {
		p = CarriedIn(t.root, root)
	}
	t.put(p)
}

// hold keeps the bytes of a document, if they are that document.
func (t *trail) hold(d ocispec.Descriptor, data []byte) {
	if oci.Verify(d, data) != "" {
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

// place is the first of the places of content.
func (t *trail) place(d digest.Digest) (Place, bool) {
	if places := t.placesOf(d); len(places) > 0 {
		return places[0], true
	}
	return Place{}, false
}

func (t *trail) placesOf(d digest.Digest) Places {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.places[d])
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

// unread returns the places of documents that have not been read, all of each,
// in the order in which they appeared.
func (t *trail) unread() []Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	var unread []Place
	for _, d := range t.order {
		if _, ok := t.documents[d]; !ok {
			for _, p := range t.places[d] {
				if oci.IsManifestOrIndex(p.descriptor.MediaType) {
					unread = append(unread, p)
				}
			}
		}
	}
	return unread
}

// learn reads a verified document and puts what it points to on the trail,
// with the documents that are embedded in its descriptors. served is the
// repository that served it, the zero value when it came from elsewhere.
// Errors are of type [InvalidError].
func (t *trail) learn(p Place, data []byte, served auth.Repository) error {
	doc, err := t.rule.read(p.descriptor.MediaType, data, p.strict)
	if err != nil {
		return p.invalid(err)
	}
	embedded, err := t.follow(p, doc, served)
	if err != nil {
		return err
	}
	for _, e := range embedded {
		if known, ok := t.place(e.descriptor.Digest); ok && known.Own(t.root) && !known.describes(e) {
			continue // it says otherwise of what is known
		}
		if err := t.learn(e, e.descriptor.Data, served); err != nil {
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
	if _, ok := t.documents[p.descriptor.Digest]; ok {
		return nil, nil
	}
	p = t.best(p)
	places, err := t.rule.places(p, doc, served)
	if err != nil {
		return nil, err
	}
	for i, next := range places {
		if err := t.checkNumber(next); err != nil {
			return nil, p.invalid(next.at(i, err))
		}
		t.put(next)
		if next.carried && p.depth == 0 && len(next.descriptor.Data) > 0 {
			t.held[next.descriptor.Digest] = next.descriptor.Data // the root: Resolve returns it, and Fetch will be asked for it
		}
		if next.embedded() {
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

// checkNumber keeps what is reached through a nested index within bounds. The
// caller holds the lock.
func (t *trail) checkNumber(p Place) error {
	_, known := t.places[p.descriptor.Digest]
	if most := t.rule.limits.Descriptors; p.strict && !known && len(t.places) >= most {
		return fmt.Errorf("more than %d descriptors in one pull", most)
	}
	return nil
}

// best is a place with all that was said of it by the same source, or what the
// root's repository says of the same. The caller holds the lock.
func (t *trail) best(p Place) Place {
	for _, known := range t.places[p.descriptor.Digest] {
		if known.describes(p) && (known.by == p.by || known.Own(t.root)) {
			return known
		}
	}
	return p
}

// put adds a place. The caller holds the lock.
func (t *trail) put(p Place) {
	d := p.descriptor.Digest
	p.descriptor = lean(p.descriptor)
	p.targets, p.fallbacks = union(nil, p.targets), union(nil, p.fallbacks)
	known := t.places[d]
	if oci.IsManifestOrIndex(p.descriptor.MediaType) && !slices.ContainsFunc(known, func(p Place) bool { return oci.IsManifestOrIndex(p.descriptor.MediaType) }) {
		t.order = append(t.order, d)
	}
	t.places[d] = known.add(t.root, p)
}

// naming is a document and an entry of it.
type naming struct {
	document digest.Digest
	entry    *Entry
}

// named returns where content is by what all documents say that were read,
// each at all places of its own. That may be more than is on the trail: a
// document is followed where it was found first, and claims are bounded.
func (t *trail) named(d digest.Digest) Places {
	t.mu.Lock()
	defer t.mu.Unlock()
	named := map[digest.Digest][]naming{}
	for _, above := range t.order {
		entries := t.documents[above].entries
		for i, e := range entries {
			if e.Digest == d || oci.IsManifestOrIndex(e.MediaType) {
				named[e.Digest] = append(named[e.Digest], naming{above, &entries[i]})
			}
		}
	}
	return t.climb(d, named, map[digest.Digest]Places{})
}

// climb is named for content, and for the documents above it.
func (t *trail) climb(d digest.Digest, named map[digest.Digest][]naming, done map[digest.Digest]Places) Places {
	if places, ok := done[d]; ok {
		return places
	}
	places := slices.Clone(t.places[d])
	done[d] = places
	for _, n := range named[d] {
		for _, p := range t.climb(n.document, named, done) {
			if next, err := p.next(*n.entry, t.documents[n.document].nested, auth.Repository{}); err == nil {
				places = places.add(t.root, next)
			}
		}
	}
	done[d] = places
	return places
}
