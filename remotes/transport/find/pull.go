package find

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// pull is one client's pull of bundles in one repository. Its methods are called
// with the lock held.
type pull struct {
	readAhead   *readAhead
	tenant      tenant
	ctx         context.Context
	end         context.CancelFunc
	expiry      *time.Timer
	lastRequest time.Time
	pausedUntil time.Time
	items       map[digest.Digest]*item
	queue       []*item // to fetch, the next one last
	fetching    int
}

// item is content that the client is expected to request.
type item struct {
	place       nested.Place
	window      *window       // of the manifest or index that named it first
	below       *window       // of what it names itself
	forPlatform bool          // it is, or is below, an entry that states this platform
	requested   bool          // by the client
	done        chan struct{} // closed when it was fetched; nil before that begins
	fetching    bool
	content     *content // that waits for the client
	fetched     time.Time
}

// window is what one manifest or index names. It is read ahead once it is open:
// when the client has requested two of its entries, or when the window that the
// manifest or index is itself in is open.
type window struct {
	open      bool
	requested int     // entries
	items     []*item // until it is open
}

// begin forgets what the client got, what failed and what is too old: it begins
// another pull, or another machine does that shows the same.
func (p *pull) begin() {
	for d, i := range p.items {
		over := i.content == nil && (i.requested || i.done != nil)
		old := i.content != nil && !i.requested && time.Since(i.fetched) > p.readAhead.maxAge
		if i.fetching || !over && !old {
			continue
		}
		if c := p.take(i); c != nil {
			c.memory.Release()
		}
		delete(p.items, d)
		p.readAhead.items--
	}
	p.queue = slices.DeleteFunc(p.queue, func(i *item) bool { return i.requested })
}

// forget ends a pull. What is being fetched is discarded when it arrives.
func (p *pull) forget() {
	if p.readAhead.pulls[p.tenant] != p {
		return
	}
	delete(p.readAhead.pulls, p.tenant)
	p.readAhead.items -= len(p.items)
	p.expiry.Stop()
	p.end()
	for _, i := range p.items {
		if c := p.take(i); c != nil {
			c.memory.Release()
		}
	}
}

// add adds what a manifest or index names. in is its own item, nil for a root.
func (p *pull) add(places []nested.Place, in *item) {
	w := &window{}
	if in != nil {
		in.below = w
	}
	for _, place := range places {
		forPlatform := in != nil && in.forPlatform
		if place.Entry() {
			forPlatform = place.Descriptor().Platform != nil
		}
		d := place.Descriptor()
		if !registry.IsExpected(d, place.Entry(), forPlatform) || p.items[d.Digest] != nil || p.readAhead.items >= readAheadItems {
			continue
		}
		i := &item{place: place.Detached(), window: w, forPlatform: forPlatform}
		p.items[i.place.Descriptor().Digest] = i
		p.readAhead.items++
		w.items = append(w.items, i)
	}
	if in != nil && in.window.open {
		p.open(w)
	}
}

// kind is what a client requests the item as.
func (i *item) kind() Kind {
	if isBlob(i.place) {
		return Blobs
	}
	return Manifests
}

// open queues what is in a window before all else, and what is below that first:
// a client goes on with a member before it begins the next.
func (p *pull) open(w *window) {
	if w.open {
		return
	}
	w.open = true
	for _, i := range slices.Backward(w.items) {
		p.queue = append(p.queue, i)
	}
	for _, i := range slices.Backward(w.items) {
		if i.below != nil {
			p.open(i.below)
		}
	}
	w.items = nil
}

// fetchQueued starts fetching what is queued, within the limits.
func (p *pull) fetchQueued() {
	a := p.readAhead
	for len(p.queue) > 0 && p.fetching < readAheadRequests && time.Now().After(p.pausedUntil) {
		if a.outstanding >= a.limit {
			a.forgetIdle(p)
		}
		if a.outstanding >= a.limit {
			return
		}
		i := p.queue[len(p.queue)-1]
		p.queue = p.queue[:len(p.queue)-1]
		if i.requested {
			continue
		}
		i.done, i.fetching = make(chan struct{}), true
		p.fetching++
		a.outstanding++
		go p.fetch(i)
	}
}

// fetch fetches an item, and keeps it for the client unless the pull has
// ended. It is called without the lock.
func (p *pull) fetch(i *item) {
	ctx, cancel := withBudget(p.ctx, p.tenant, p.readAhead.timeout)
	defer cancel()
	budgetOf(ctx).readAhead = true
	c, _, err := p.readAhead.load(ctx, Request{kind: Manifests, repository: p.tenant.repository, caller: p.tenant.caller}, i.place)
	p.readAhead.mu.Lock()
	defer p.readAhead.mu.Unlock()
	close(i.done)
	i.fetching = false
	p.fetching--
	switch {
	case p.ctx.Err() != nil:
		p.readAhead.outstanding--
	case err != nil:
		p.readAhead.outstanding--
		p.pausedUntil = time.Now().Add(readAheadPause)
	default:
		i.content, i.fetched = c, time.Now()
		p.add(c.next, i)
		c.next = nil // it may be larger than the content
		budgetOf(ctx).disown(c.memory)
		c.memory.Idle(func() {
			p.readAhead.mu.Lock()
			defer p.readAhead.mu.Unlock()
			p.take(i)
		})
		p.fetchQueued()
	}
}

// take takes the content out of an item, nil if there is none.
func (p *pull) take(i *item) *content {
	c := i.content
	if i.content = nil; c == nil {
		return nil
	}
	p.readAhead.outstanding--
	if !c.memory.Use() {
		return nil // it was evicted
	}
	return c
}
