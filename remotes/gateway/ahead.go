package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// aheadWorkers bounds the requests at a time for one pull; containerd makes 3.
	aheadWorkers = 32
	// aheadTime is for how long answers wait for a client that asks for nothing more.
	aheadTime = 30 * time.Second
	// aheadPulls and aheadItems bound the pulls, and the content of one, that are known.
	aheadPulls = 64
	aheadItems = 20_000
)

// ahead fetches what a client that pulls a nested index will ask for next:
// members' manifests for this platform, and their small blobs. Each is asked
// for as the client would do it, with his credentials, kept for him alone and
// given once. A client that goes on by himself is told so, and what failed he
// asks for himself. Of a member whose entry states no platform only the config
// is fetched: what it says may not suit the client.
//
// Nothing is fetched ahead of which the trail knew, since the client will have
// it, nor before a client has asked for a second entry of the index: some want
// one only.
type ahead struct {
	load    func(ctx context.Context, q request, p nested.Place) (d *document, found []nested.Place, err error)
	timeout time.Duration
	room    chan struct{} // held by each answer that waits for its client, or is on its way

	mu    sync.Mutex
	pulls map[right]*pull
}

// pull is one client's pull of bundles in one repository.
type pull struct {
	*ahead
	q     request
	ctx   context.Context
	end   context.CancelFunc
	idle  *time.Timer
	items map[digest.Digest]*item
	queue []*item // to be fetched
	busy  int     // workers
}

// siblings are what one document points to.
type siblings struct {
	below *siblings // those that the document is one of; nil for a root
	asked int       // entries that the client has asked for
}

// wanted tells whether a client goes through all of them, as he does with
// those that they are below of.
func (s *siblings) wanted() bool { return s != nil && (s.asked > 1 || s.below.wanted()) }

// item is content that the client is expected to ask for.
type item struct {
	place    nested.Place
	among    *siblings
	ours     bool          // below an entry that states this platform, or that entry
	asked    bool          // for by the client
	done     chan struct{} // closed when it was fetched; nil before it is begun
	document *document     // that waits, and holds room
}

// expect is told what a document points to that the client was given.
func (a *ahead) expect(q request, places []nested.Place) {
	if len(places) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[right{q.repository, q.caller}]
	if p == nil {
		if len(a.pulls) >= aheadPulls {
			return
		}
		p = a.newPull(q)
	}
	p.add(places, p.items[q.digest])
}

// newPull remembers a pull until its client has asked for nothing for a while.
// The caller holds the lock, as those of pull's methods do.
func (a *ahead) newPull(q request) *pull {
	ctx, end := context.WithCancel(context.WithValue(context.Background(), callerKey{}, q.caller))
	k := right{q.repository, q.caller}
	p := &pull{ahead: a, q: request{kind: manifests, repository: q.repository, caller: q.caller}, ctx: ctx, end: end, items: map[digest.Digest]*item{}}
	p.idle = time.AfterFunc(aheadTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		p.forget()
	})
	a.pulls[k] = p
	return p
}

// forget ends a pull. What is on its way is thrown away when it comes.
func (p *pull) forget() {
	if k := (right{p.q.repository, p.q.caller}); p.pulls[k] == p {
		delete(p.pulls, k)
	}
	p.end()
	p.queue = nil
	for _, i := range p.items {
		p.take(i)
	}
}

// close ends all pulls.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pulls {
		p.idle.Stop()
		p.forget()
	}
}

// add puts what a document points to before what waits: a client goes on with
// a member before it begins the next. in is the document's item, nil for a root.
func (p *pull) add(places []nested.Place, in *item) {
	among, ours := &siblings{}, false
	if in != nil {
		among.below, ours = in.among, in.ours
	}
	var fresh []*item
	for _, place := range places {
		i := &item{place: place, among: among, ours: ours}
		if place.Entry {
			i.ours = place.Descriptor.Platform != nil
		}
		d := place.Descriptor.Digest
		if _, ok := p.items[d]; ok || len(p.items) >= aheadItems || !i.worthwhile() {
			continue
		}
		p.items[d] = i
		fresh = append(fresh, i)
	}
	p.queue = append(fresh, p.queue...)
	p.start()
}

// worthwhile tells whether a client of this platform will ask for an item, and
// whether it is small.
func (i *item) worthwhile() bool {
	d := i.place.Descriptor
	switch {
	case !nested.Brief(d), len(d.Data) > 0, d.Platform != nil && !platforms.Default().Match(*d.Platform):
		return false
	case i.place.Entry:
		return nested.IsDocument(d.MediaType)
	}
	return i.ours || images.IsConfigType(d.MediaType)
}

// kind is what a client asks for the item as.
func (i *item) kind() kind {
	if nested.IsDocument(i.place.Descriptor.MediaType) {
		return manifests
	}
	return blobs
}

// start starts workers for what waits.
func (p *pull) start() {
	if !slices.ContainsFunc(p.queue, (*item).due) {
		return
	}
	for p.busy < min(aheadWorkers, len(p.queue)) {
		p.busy++
		go p.work()
	}
}

// work fetches until nothing waits.
func (p *pull) work() {
	for {
		select {
		case p.room <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
		i := p.next()
		if i == nil {
			<-p.room
			return
		}
		d, err := p.fetch(i)
		p.keep(i, d, err)
	}
}

// due tells whether an item is to be fetched now.
func (i *item) due() bool { return !i.asked && i.among.wanted() }

// next takes an item that is due, or ends the worker.
func (p *pull) next() *item {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = slices.DeleteFunc(p.queue, func(i *item) bool { return i.asked })
	at := slices.IndexFunc(p.queue, (*item).due)
	if at < 0 {
		p.busy--
		return nil
	}
	i := p.queue[at]
	p.queue = slices.Delete(p.queue, at, at+1)
	i.done = make(chan struct{})
	return i
}

func (p *pull) fetch(i *item) (*document, error) {
	ctx, cancel := withBudget(auth.Brief(p.ctx), p.timeout)
	defer cancel()
	place := i.place
	place.Carried = place.Carried || i.kind() == blobs // is under /blobs/
	d, _, err := p.load(ctx, p.q, place)
	return d, err
}

// keep keeps what was fetched for the client, unless the pull has ended.
func (p *pull) keep(i *item, d *document, err error) {
	if err == nil {
		err = d.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(i.done)
	if err != nil || !d.whole() || p.ctx.Err() != nil {
		<-p.room
		return
	}
	i.document = d
	p.add(d.fresh, i)
}

// take takes an item's document, if it has one. Its room is free then.
func (p *pull) take(i *item) *document {
	d := i.document
	if i.document = nil; d != nil {
		<-p.room
	}
	return d
}

// claim returns what was fetched for a client's request, waiting for what is
// on its way, or nil when he has to be served otherwise.
func (a *ahead) claim(ctx context.Context, q request) *document {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[right{q.repository, q.caller}]
	if p == nil {
		return nil
	}
	i := p.items[q.digest]
	if i == nil || i.asked || q.head || q.kind != i.kind() {
		return nil
	}
	i.asked = true
	if i.place.Entry {
		i.among.asked++
	}
	p.idle.Reset(aheadTime)
	p.start()
	if i.done == nil {
		return nil
	}
	a.mu.Unlock()
	select {
	case <-i.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	d := p.take(i)
	if q.header.Get("Range") != "" {
		return nil // rare: the client resumes what he has a part of
	}
	return d
}
