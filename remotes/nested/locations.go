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

// locations remembers, for one pull, where content may be and what the
// manifests and indexes hold that passed through.
type locations struct {
	root auth.Repository
	rule Rule

	mu     sync.Mutex
	places map[digest.Digest]Places
	order  []digest.Digest // of the manifests and indexes among them
	parsed map[digest.Digest]parsed
	held   map[digest.Digest][]byte // manifests and indexes that were fetched while resolving
}

func newLocations(root auth.Repository, r Rule) *locations {
	return &locations{
		root:   root,
		rule:   r,
		places: map[digest.Digest]Places{},
		parsed: map[digest.Digest]parsed{},
		held:   map[digest.Digest][]byte{},
	}
}

// start puts the root in the location cache.
func (l *locations) start(root ocispec.Descriptor, carried bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := PlaceIn(l.root, root)
	if carried {
		p = CarriedIn(l.root, root)
	}
	l.put(p)
}

// hold keeps the bytes of a manifest or index, if they verify.
func (l *locations) hold(d ocispec.Descriptor, data []byte) {
	if oci.Verify(d, data) != "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[d.Digest] = data
}

// take gives held bytes away: whatever fetches them has them.
func (l *locations) take(d digest.Digest) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, ok := l.held[d]
	delete(l.held, d)
	return data, ok
}

func (l *locations) heldBytes(d digest.Digest) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, ok := l.held[d]
	return data, ok
}

// place is the first of the places of content.
func (l *locations) place(d digest.Digest) (Place, bool) {
	if places := l.placesOf(d); len(places) > 0 {
		return places[0], true
	}
	return Place{}, false
}

func (l *locations) placesOf(d digest.Digest) Places {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.places[d])
}

func (l *locations) parsedOf(d digest.Digest) (parsed, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.parsed[d]
	return m, ok
}

// empty reports whether not even the root is there.
func (l *locations) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.places) == 0
}

// unread returns the places of manifests and indexes that have not been read,
// all of each, in the order in which they appeared.
func (l *locations) unread() []Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	var unread []Place
	for _, d := range l.order {
		if _, ok := l.parsed[d]; !ok {
			for _, p := range l.places[d] {
				if oci.IsManifestOrIndex(p.descriptor.MediaType) {
					unread = append(unread, p)
				}
			}
		}
	}
	return unread
}

// learn reads a verified manifest or index and puts what it points to in the
// location cache, with the manifests and indexes that are embedded in its
// descriptors. served is the repository that served it, the zero value when it
// came from elsewhere. Errors are of type [InvalidError].
func (l *locations) learn(p Place, data []byte, served auth.Repository) error {
	m, err := l.rule.read(p.descriptor.MediaType, data, p.strict)
	if err != nil {
		return p.invalid(err)
	}
	embedded, err := l.follow(p, m, served)
	if err != nil {
		return err
	}
	for _, e := range embedded {
		if known, ok := l.place(e.descriptor.Digest); ok && known.Own(l.root) && !known.describes(e) {
			continue // it says otherwise of what is known
		}
		if err := l.learn(e, e.descriptor.Data, served); err != nil {
			return err
		}
	}
	return nil
}

// follow puts the entries of a manifest or index in the location cache, and
// returns those that are manifests and indexes embedded in their descriptors.
func (l *locations) follow(p Place, m parsed, served auth.Repository) (embedded []Place, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.parsed[p.descriptor.Digest]; ok {
		return nil, nil
	}
	p = l.best(p)
	places, err := l.rule.places(p, m, served)
	if err != nil {
		return nil, err
	}
	for i, next := range places {
		if err := l.checkNumber(next); err != nil {
			return nil, p.invalid(next.at(i, err))
		}
		l.put(next)
		if next.carried && p.depth == 0 && len(next.descriptor.Data) > 0 {
			l.held[next.descriptor.Digest] = next.descriptor.Data // the root: Resolve returns it, and Fetch will be asked for it
		}
		if next.embedded() {
			embedded = append(embedded, next)
		}
	}
	for i, e := range m.entries {
		m.entries[i].Descriptor, m.entries[i].Origin = lean(e.Descriptor), originOf(e.Descriptor)
		if !p.strict && !m.nested {
			m.entries[i].URLs = e.URLs // plain content may be where containerd finds it
		}
	}
	l.parsed[p.descriptor.Digest] = m
	return embedded, nil
}

// checkNumber keeps what is reached through a nested index within bounds. The
// caller holds the lock.
func (l *locations) checkNumber(p Place) error {
	if !p.strict {
		return nil
	}
	return l.checkRoom(p)
}

// checkRoom bounds what is known of a pull. The caller holds the lock.
func (l *locations) checkRoom(p Place) error {
	_, known := l.places[p.descriptor.Digest]
	if most := l.rule.limits.Descriptors; !known && len(l.places) >= most {
		return fmt.Errorf("more than %d descriptors in one pull", most)
	}
	return nil
}

// best is a place with all that was said of it by the same source, or what the
// root's repository says of the same. The caller holds the lock.
func (l *locations) best(p Place) Place {
	for _, known := range l.places[p.descriptor.Digest] {
		if known.describes(p) && (known.by == p.by || known.Own(l.root)) {
			return known
		}
	}
	return p
}

// put adds a place. The caller holds the lock.
func (l *locations) put(p Place) {
	d := p.descriptor.Digest
	p.descriptor = lean(p.descriptor)
	p.targets, p.fallbacks = union(nil, p.targets), union(nil, p.fallbacks)
	known := l.places[d]
	if oci.IsManifestOrIndex(p.descriptor.MediaType) && !slices.ContainsFunc(known, func(p Place) bool { return oci.IsManifestOrIndex(p.descriptor.MediaType) }) {
		l.order = append(l.order, d)
	}
	l.places[d] = known.add(l.root, p)
}

// naming is a manifest or index and an entry of it.
type naming struct {
	by    digest.Digest
	entry *Entry
}

// named returns where content is by what all manifests and indexes say that
// were read, each at all places of its own. That may be more than is in the
// location cache: one is followed where it was found first, and claims
// are bounded.
func (l *locations) named(d digest.Digest) Places {
	l.mu.Lock()
	defer l.mu.Unlock()
	named := map[digest.Digest][]naming{}
	for _, above := range l.order {
		entries := l.parsed[above].entries
		for i, e := range entries {
			if e.Digest == d || oci.IsManifestOrIndex(e.MediaType) {
				named[e.Digest] = append(named[e.Digest], naming{above, &entries[i]})
			}
		}
	}
	return l.climb(d, named, map[digest.Digest]Places{})
}

// climb is named for content, and for the manifests and indexes above it.
func (l *locations) climb(d digest.Digest, named map[digest.Digest][]naming, done map[digest.Digest]Places) Places {
	if places, ok := done[d]; ok {
		return places
	}
	places := slices.Clone(l.places[d])
	done[d] = places
	for _, n := range named[d] {
		for _, p := range l.climb(n.by, named, done) {
			if next, err := p.next(*n.entry, l.parsed[n.by].nested, auth.Repository{}); err == nil {
				places = places.add(l.root, next)
			}
		}
	}
	done[d] = places
	return places
}
