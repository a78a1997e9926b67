package find

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/callers"
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
	maxAgain       = 256 << 10 // up to which an index is decoded for each client
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
// it, but with [Options].Apart. Nothing is, before the client has requested a
// second entry of the index: some clients want only one.
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

// observe looks at what a client is served for what it may request next.
func (a *readAhead) observe(q Request, c *content) {
	if len(c.next) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[q.tenant()]
	root := p == nil || p.items[q.digest] == nil
	switch {
	case root && !images.IsIndexType(c.mediaType):
		return // it is not below one that is known
	case p == nil:
		if p = a.newPull(q); p == nil {
			return
		}
	case root:
		p.begin()
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
	p.ctx, p.end = context.WithCancel(auth.Small(callers.With(context.Background(), q.caller)))
	p.expiry = time.AfterFunc(readAheadTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		p.forget()
	})
	a.pulls[p.tenant] = p
	return p
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

// again reports whether a manifest or index that was learnt is decoded again, to
// read ahead what it names, and takes memory for that: nobody waits for it.
func (f *Finder) again(ctx context.Context, q Request, c *content) (ok bool) {
	if !f.options.Apart || f.options.Prefetch == 0 || c.size > maxAgain || !images.IsIndexType(c.mediaType) && !f.readAhead.expects(q.tenant(), c.digest) {
		return false
	}
	c.decodedMemory, ok = budgetOf(ctx).takeAtOnce(f.memory.decoded.TakeFree, decodedFactor*int64(len(c.data)))
	return ok
}

// expects reports whether a client is expected to request an item.
func (a *readAhead) expects(t tenant, d digest.Digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[t]
	return p != nil && p.items[d] != nil
}

// next is what is read ahead of what a manifest or index names.
func (f *Finder) next(q Request, found []nested.Place) []nested.Place {
	switch {
	case f.options.Prefetch == 0:
		return nil
	case f.options.Apart:
		return found
	}
	return f.locations.Unknown(q.repository, found)
}
