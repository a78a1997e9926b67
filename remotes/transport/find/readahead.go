package find

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// readAheadRequests bounds the concurrent requests of one pull; containerd
	// makes 3.
	readAheadRequests = 32
	// readAheadTime is how long a pull is remembered after its client's last
	// request. After readAheadIdle it may be forgotten in favour of others.
	readAheadTime = 10 * time.Minute
	readAheadIdle = 30 * time.Second
	// readAheadPause is how long nothing is read ahead for a client after a
	// failure: the client will see the same error itself, or has given up.
	readAheadPause = time.Minute
	// readAheadPulls and readAheadItems bound the pulls that are remembered, and
	// the items of all of them.
	readAheadPulls = 64
	readAheadItems = 20_000
	// maxMediaType bounds a media type that is kept: RFC 6838, section 4.2.
	maxMediaType = 255
)

// readAhead fetches what a client that pulls a nested index will request next:
// the members' manifests for this platform, and their small blobs. Each is
// fetched once, as the client would do it and with its credentials. It is kept
// for that client alone and served once. A client that requests an item while it
// is being fetched waits for it; when that fails, it is served as if nothing had
// been read ahead. Of a member whose entry states no platform only the config is
// fetched, because the config may say that the member is for another platform.
//
// What the location cache knew before is not read ahead, because the client has
// it. Nothing is, before the client has requested a second entry of the index:
// some clients want only one.
type readAhead struct {
	load    func(ctx context.Context, q Request, p nested.Place) (c *content, found []nested.Place, err error)
	limit   int           // of items that wait for their clients or are being fetched
	timeout time.Duration // of fetching one
	maxAge  time.Duration // after which one is not served any more

	mu          sync.Mutex
	pulls       map[tenant]*pull
	outstanding int // items that wait for their clients or are being fetched
	items       int // of all pulls
	closed      bool
}

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
	content     *content      // that waits for the client
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

// observe looks at what a client is served for what it may request next.
func (a *readAhead) observe(q Request, c *content) {
	if len(c.next) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[q.tenant()]
	if (p == nil || p.items[q.digest] == nil) && !images.IsIndexType(c.mediaType) {
		return // it is neither a root nor below one that is known
	}
	if p == nil {
		if p = a.newPull(q); p == nil {
			return
		}
	}
	p.add(c.next, p.items[q.digest])
	p.fetchQueued()
}

// newPull remembers a pull, unless there are too many. It returns nil then.
func (a *readAhead) newPull(q Request) *pull {
	full := func() bool { return len(a.pulls) >= readAheadPulls || a.items >= readAheadItems }
	if full() {
		a.forgetIdle(nil)
	}
	if a.closed || full() {
		return nil
	}
	p := &pull{readAhead: a, tenant: q.tenant(), lastRequest: time.Now(), items: map[digest.Digest]*item{}}
	p.ctx, p.end = context.WithCancel(auth.Small(WithCaller(context.Background(), q.caller)))
	p.expiry = time.AfterFunc(readAheadTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		p.forget()
	})
	a.pulls[p.tenant] = p
	return p
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

// forgetIdle forgets the pulls, but for one, whose clients request nothing any
// more. The caller holds the lock.
func (a *readAhead) forgetIdle(but *pull) {
	for _, p := range a.pulls {
		if p != but && time.Since(p.lastRequest) > readAheadIdle {
			p.forget()
		}
	}
}

// close ends all pulls for good.
func (a *readAhead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, p := range a.pulls {
		p.forget()
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
		if !worthwhile(place, forPlatform) || p.items[d.Digest] != nil || p.readAhead.items >= readAheadItems {
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
		i.done = make(chan struct{})
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

// claim returns what was read ahead for a client's request, and waits while it is
// being fetched. It returns nil when the request has to be served otherwise.
func (a *readAhead) claim(ctx context.Context, q Request) *content {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[q.tenant()]
	if p == nil {
		return nil
	}
	p.lastRequest = time.Now()
	p.expiry.Reset(readAheadTime)
	i := p.items[q.digest]
	if i == nil || i.requested || q.head || q.kind != i.kind() || !q.wantsAll() {
		return nil
	}
	i.requested = true
	if i.place.Entry() {
		i.window.requested++
	}
	if i.window.requested > 1 {
		p.open(i.window)
	}
	p.fetchQueued()
	if i.done == nil {
		return nil
	}
	a.mu.Unlock()
	select {
	case <-i.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	if ctx.Err() != nil {
		i.requested = false // the client has gone, and may come again
		return nil
	}
	c := p.take(i)
	p.fetchQueued()
	if c == nil {
		return nil
	}
	if time.Since(i.fetched) > a.maxAge {
		c.memory.Release()
		return nil
	}
	budgetOf(ctx).adopt(c.memory)
	return c
}
