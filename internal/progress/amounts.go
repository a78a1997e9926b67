package progress

import (
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	units "github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/meter"
)

// amounts are what is to be moved, each content once, and how much of it has been.
type amounts struct {
	mu       sync.Mutex
	contents map[digest.Digest]*content
	members  map[string]*amount // by repository
	all      amount
	active   []*content // in the order in which they began
}

// amount is what is to be moved of a member, or of everything.
type amount struct {
	total, done int64 // bytes; done of contents that have ended
	moved       int64 // bytes of done that were transferred
	unread      int   // manifests and indexes of which it is not known what they list
}

// content is one content on its way.
type content struct {
	of       string // the repository
	size     int64
	unread   bool
	ended    bool
	counters []*meter.Counter // of transfers that have begun; a second one follows a failed one
}

func newAmounts() *amounts {
	return &amounts{contents: map[digest.Digest]*content{}, members: map[string]*amount{}}
}

// of returns the content of a node, which is planned with it, and the amounts that
// it is a part of.
func (a *amounts) of(n *bundle.Node) (*content, [2]*amount) {
	c, ok := a.contents[n.Digest]
	if !ok {
		c = &content{of: n.Repository.Name(), size: max(n.Size, 0), unread: oci.IsManifestOrIndex(n.MediaType)}
		a.contents[n.Digest] = c
	}
	m, known := a.members[c.of]
	if !known {
		m = new(amount)
		a.members[c.of] = m
	}
	parts := [2]*amount{&a.all, m}
	for _, p := range parts {
		if !ok {
			p.total = units.Add(p.total, c.size)
		}
		if !ok && c.unread {
			p.unread++
		}
	}
	return c, parts
}

// expand plans what a node lists. What is missing lists nothing.
func (a *amounts) expand(n *bundle.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, child := range slices.Concat(n.Children, n.Referrers) {
		a.of(child)
	}
	if n.Digest == "" {
		return
	}
	if c, parts := a.of(n); c.unread {
		c.unread = false
		for _, p := range parts {
			p.unread--
		}
	}
	if n.Missing {
		a.finish(n)
	}
}

func (a *amounts) begin(n *bundle.Node) *meter.Counter {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, _ := a.of(n)
	counter := new(meter.Counter)
	if c.counters = append(c.counters, counter); len(c.counters) == 1 {
		a.active = append(a.active, c)
	}
	return counter
}

func (a *amounts) end(n *bundle.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finish(n)
}

// finish is end under the lock.
func (a *amounts) finish(n *bundle.Node) {
	c, parts := a.of(n)
	if c.ended {
		return
	}
	moved, _ := c.progress()
	c.ended, c.counters = true, nil
	a.active = slices.DeleteFunc(a.active, func(other *content) bool { return other == c })
	for _, p := range parts {
		p.done = units.Add(p.done, c.size)
		p.moved = units.Add(p.moved, moved)
	}
}

// progress is how many bytes were transferred, and how many are there.
func (c *content) progress() (moved, there int64) {
	for _, counter := range c.counters {
		read := counter.Read.Load()
		moved += read
		there = read + counter.Skipped.Load()
	}
	return moved, min(max(there, 0), c.size)
}

// now are all amounts, and those of the members that are on their way, with what
// is there of the contents that have not ended.
func (a *amounts) now() (all amount, members []memberAmount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all = a.all
	for _, c := range a.active {
		moved, there := c.progress()
		at := slices.IndexFunc(members, func(m memberAmount) bool { return m.name == c.of })
		if at < 0 {
			at, members = len(members), append(members, memberAmount{c.of, *a.members[c.of]})
		}
		for _, p := range []*amount{&all, &members[at].amount} {
			p.moved, p.done = units.Add(p.moved, moved), units.Add(p.done, there)
		}
	}
	return all, members
}

// memberAmount is what is to be moved from one repository.
type memberAmount struct {
	name string
	amount
}
