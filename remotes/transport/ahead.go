package transport

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

const (
	// aheadWorkers bounds the requests at a time for one pull; containerd makes 3.
	aheadWorkers = 32
	// aheadTime is for how long a pull is remembered after its client's last
	// request, aheadQuiet after how long it makes room for others.
	aheadTime  = 10 * time.Minute
	aheadQuiet = 30 * time.Second
	// aheadPause is for how long nothing is fetched ahead for a client after
	// that has failed: they will come and hear of it, or have given up.
	aheadPause = time.Minute
	// aheadPulls and aheadItems bound the pulls, and the content of all of
	// them, that are known.
	aheadPulls = 64
	aheadItems = 20_000
	// maxMediaType bounds what is kept of a media type: RFC 6838, section 4.2.
	maxMediaType = 255
)

// ahead fetches what a client that pulls a nested index will ask for next:
// members' manifests for this platform, and their small blobs. Each is asked
// for once, as the client would do it, with their credentials, kept for them
// alone and given once. A client that goes on by itself is told so, and what
// failed it asks for itself. Of a member whose entry states no platform only
// the config is fetched: what it says may not suit the client.
//
// Nothing is fetched ahead of which the location cache knew, since the client will have
// it, nor before a client has asked for a second entry of the index: some want
// one only.
type ahead struct {
	load func(ctx context.Context, q Request, p nested.Place) (d *document, found []nested.Place, err error)
	room int           // for answers that wait for their clients, or are on their way
	wait time.Duration // how long an answer may be on its way
	keep time.Duration // how long it may wait

	mu     sync.Mutex
	pulls  map[right]*pull
	taken  int // of the room
	known  int // items
	closed bool
}

// pull is one client's pull of bundles in one repository. The caller of its
// methods holds the lock.
type pull struct {
	all    *ahead
	of     right
	ctx    context.Context
	end    context.CancelFunc
	expiry *time.Timer
	seen   time.Time // when the client asked last
	paused time.Time // until then nothing is begun
	items  map[digest.Digest]*item
	due    []*item // a stack
	busy   int     // answers that are on their way
}

// item is content that the client is expected to ask for.
type item struct {
	place    nested.Place
	among    *siblings     // what the document that named it first points to
	below    *siblings     // what it points to itself
	suits    bool          // it is, or is below, an entry that states this platform
	asked    bool          // for by the client
	done     chan struct{} // closed when it was fetched; nil before that is begun
	document *document     // that waits, and takes room
	since    time.Time
}

// siblings are what one document points to. They are wanted when the client
// goes through all of them: it has asked for two entries, or goes so through
// what the document is one of.
type siblings struct {
	wanted bool
	asked  int     // entries
	items  []*item // until they are wanted
}

// expect is told which document a client was given.
func (a *ahead) expect(q Request, d *document) {
	if len(d.fresh) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[q.right()]
	if (p == nil || p.items[q.digest] == nil) && !images.IsIndexType(d.mediaType) {
		return // it is no root: nobody is known to go through what it is one of
	}
	if p == nil {
		if p = a.newPull(q); p == nil {
			return
		}
	}
	p.add(d.fresh, p.items[q.digest])
	p.start()
}

// newPull begins to remember a pull, if there is room for it.
func (a *ahead) newPull(q Request) *pull {
	full := func() bool { return len(a.pulls) >= aheadPulls || a.known >= aheadItems }
	if full() {
		a.forgetQuiet(nil)
	}
	if a.closed || full() {
		return nil
	}
	p := &pull{all: a, of: q.right(), seen: time.Now(), items: map[digest.Digest]*item{}}
	p.ctx, p.end = context.WithCancel(auth.Small(context.WithValue(context.Background(), callerKey{}, q.caller)))
	p.expiry = time.AfterFunc(aheadTime, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		p.forget()
	})
	a.pulls[p.of] = p
	return p
}

// forget ends a pull. What is on its way is thrown away when it comes.
func (p *pull) forget() {
	if p.all.pulls[p.of] != p {
		return
	}
	delete(p.all.pulls, p.of)
	p.all.known -= len(p.items)
	p.expiry.Stop()
	p.end()
	for _, i := range p.items {
		if d := p.take(i); d != nil {
			d.room.Release()
		}
	}
}

// forgetQuiet makes room for one pull from others whose clients ask for
// nothing any more. The caller holds the lock.
func (a *ahead) forgetQuiet(but *pull) {
	for _, p := range a.pulls {
		if p != but && time.Since(p.seen) > aheadQuiet {
			p.forget()
		}
	}
}

// close ends all pulls for good.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, p := range a.pulls {
		p.forget()
	}
}

// add adds what a document points to. in is the document's item, nil for a
// root.
func (p *pull) add(places []nested.Place, in *item) {
	s := &siblings{}
	if in != nil {
		in.below = s
	}
	for _, place := range places {
		suits := in != nil && in.suits
		if place.Entry() {
			suits = place.Descriptor().Platform != nil
		}
		d := place.Descriptor()
		if !worthwhile(place, suits) || p.items[d.Digest] != nil || p.all.known >= aheadItems {
			continue
		}
		i := &item{place: place.Detached(), among: s, suits: suits}
		p.items[i.place.Descriptor().Digest] = i
		p.all.known++
		s.items = append(s.items, i)
	}
	if in != nil && in.among.wanted {
		p.want(s)
	}
}

// platform is this node's. What merely runs on it, as 386 does on amd64, clients
// take where there is nothing else.
var platform = platforms.OnlyStrict(platforms.DefaultSpec())

// worthwhile reports whether a client of this platform will ask for what is at
// a place, and whether it is small. What has URLs it looks for there.
func worthwhile(place nested.Place, suits bool) bool {
	d := place.Descriptor()
	switch {
	case !registry.IsSmall(d), len(d.MediaType) > maxMediaType, len(d.Data) > 0, len(d.URLs) > 0, d.Platform != nil && !platform.Match(*d.Platform):
		return false
	case place.Entry():
		return oci.IsManifestOrIndex(d.MediaType)
	}
	return suits || images.IsConfigType(d.MediaType)
}

// kind is what a client asks for the item as.
func (i *item) kind() Kind {
	if isBlob(i.place) {
		return Blobs
	}
	return Manifests
}

// want puts siblings before what is due, and what is below them before that: a
// client goes on with a member before it begins the next.
func (p *pull) want(s *siblings) {
	if s.wanted {
		return
	}
	s.wanted = true
	for _, i := range slices.Backward(s.items) {
		p.due = append(p.due, i)
	}
	for _, i := range slices.Backward(s.items) {
		if i.below != nil {
			p.want(i.below)
		}
	}
	s.items = nil
}

// start begins what is due, as long as there is room.
func (p *pull) start() {
	a := p.all
	for len(p.due) > 0 && p.busy < aheadWorkers && time.Now().After(p.paused) {
		if a.taken >= a.room {
			a.forgetQuiet(p)
		}
		if a.taken >= a.room {
			return
		}
		i := p.due[len(p.due)-1]
		p.due = p.due[:len(p.due)-1]
		if i.asked {
			continue
		}
		i.done = make(chan struct{})
		p.busy++
		a.taken++
		go p.fetch(i)
	}
}

// fetch fetches an item, and keeps it for the client unless the pull has
// ended. It takes the lock itself.
func (p *pull) fetch(i *item) {
	ctx, cancel := withBudget(p.ctx, p.of, p.all.wait)
	defer cancel()
	budgetOf(ctx).hasty = true
	d, _, err := p.all.load(ctx, Request{kind: Manifests, repository: p.of.repository, caller: p.of.caller}, i.place)
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	close(i.done)
	p.busy--
	switch {
	case p.ctx.Err() != nil:
		p.all.taken--
	case err != nil:
		p.all.taken--
		p.paused = time.Now().Add(aheadPause)
	default:
		i.document, i.since = d, time.Now()
		p.add(d.fresh, i)
		d.fresh = nil // it may be larger than the document
		budgetOf(ctx).leave(d.room)
		d.room.Idle(func() {
			p.all.mu.Lock()
			defer p.all.mu.Unlock()
			p.take(i)
		})
		p.start()
	}
}

// take takes an item's document, if it has one. Its room is free then.
func (p *pull) take(i *item) *document {
	d := i.document
	if i.document = nil; d == nil {
		return nil
	}
	p.all.taken--
	if !d.room.Use() {
		return nil // its memory was needed
	}
	return d
}

// claim returns what was fetched for a client's request, waiting for what is
// on its way, or nil when it has to be served otherwise.
func (a *ahead) claim(ctx context.Context, q Request) *document {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pulls[q.right()]
	if p == nil {
		return nil
	}
	p.seen = time.Now()
	p.expiry.Reset(aheadTime)
	i := p.items[q.digest]
	if i == nil || i.asked || q.head || q.kind != i.kind() || !q.whole() {
		return nil
	}
	i.asked = true
	if i.place.Entry() {
		i.among.asked++
	}
	if i.among.asked > 1 {
		p.want(i.among)
	}
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
	if ctx.Err() != nil {
		i.asked = false // it has gone, and may come again
		return nil
	}
	d := p.take(i)
	p.start()
	if d == nil {
		return nil
	}
	if time.Since(i.since) > a.keep {
		d.room.Release()
		return nil
	}
	budgetOf(ctx).adopt(d.room)
	return d
}
