// Package memory divides a number of bytes fairly among those that need some of
// them. It counts; what the bytes are used for is its caller's.
//
//   - memory.go: [Pool], what there is, and who gets some of it when;
//   - portion.go: [Portion], what one has taken, until it is given back.
//
// A portion is in one of three states. In use, it is its holder's. Idle
// ([Portion.Idle]), it holds what may be needed again, and is evicted before
// anybody waits. Preemptible ([Portion.OnPreempt]), it is in use, and its use is
// ended when others have waited for a while.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Pool is a number of bytes. Whoever takes of it leaves at least as much free as
// they then hold: one alone has half of it, two have a third each, and however
// many there are, who comes with something smaller finds room. Each may be
// smaller than the one before, so that in the end there is none: who has waited
// for [MinUse] preempts the oldest portion that has been in use for as long.
//
// K says who holds a portion. A Pool may be used by any number of goroutines; it
// calls nothing of its caller's under its lock.
type Pool[K comparable] struct {
	size int64

	mu          sync.Mutex // no other lock is taken under it
	used        int64
	holders     map[K]int64   // what each of them holds
	idle        []*Portion[K] // the oldest first
	waiting     []*Portion[K] // the first first
	preemptible []*Portion[K] // the oldest first
}

// MinUse is for how long a portion is not preempted: what needs longer, when
// others wait, may be something that never ends.
const MinUse = 5 * time.Second

// afterPreempting is for how long the next preemption waits for the one before to
// give its memory back.
const afterPreempting = MinUse / 20

// NewPool returns a pool of so many bytes, of which nothing is taken.
func NewPool[K comparable](bytes int64) *Pool[K] {
	return &Pool[K]{size: bytes, holders: map[K]int64{}}
}

// Used returns how many bytes are taken, those of idle portions among them.
func (p *Pool[K]) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Free returns how many bytes are not taken.
func (p *Pool[K]) Free() int64 { return p.size - p.Used() }

// Waiting returns how many wait for a portion.
func (p *Pool[K]) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Take takes so many bytes, at most half of the pool. It waits until there is
// room, or until the context ends, whose cause is then the error. Idle portions
// are evicted first. Who needs less may be served before who came first.
func (p *Pool[K]) Take(ctx context.Context, of K, bytes int64) (*Portion[K], error) {
	c := p.portion(of, bytes)
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	preempt := time.NewTimer(MinUse)
	defer preempt.Stop()
	for {
		if !p.admit(c) && p.evict(of, c.bytes) {
			continue
		}
		select {
		case <-c.ready:
			return c, nil
		case <-c.idled:
		case <-preempt.C:
			p.preempt(c)
			preempt.Reset(afterPreempting)
		case <-ctx.Done():
			c.Release()
			return nil, context.Cause(ctx)
		}
	}
}

// TakeFree takes so many bytes, at most half of the pool, if they are free. It
// neither waits nor evicts.
func (p *Pool[K]) TakeFree(of K, bytes int64) (c *Portion[K], ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c = p.portion(of, bytes)
	if !p.fits(c) {
		return nil, false
	}
	p.enter(c)
	return c, true
}

// TakeNone returns a portion of no bytes, which can grow.
func (p *Pool[K]) TakeNone(of K) *Portion[K] { return &Portion[K]{pool: p, of: of} }

func (p *Pool[K]) portion(of K, bytes int64) *Portion[K] {
	bytes = min(max(bytes, 1), p.size/2) // more than that nobody ever has
	return &Portion[K]{pool: p, of: of, bytes: bytes, ready: make(chan struct{}), idled: make(chan struct{}, 1)}
}

// admit serves those that wait, and reports whether c does not wait any more.
func (p *Pool[K]) admit(c *Portion[K]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve()
	return !slices.Contains(p.waiting, c)
}

// serve lets in those that wait and find room. The caller holds the lock.
func (p *Pool[K]) serve() {
	p.waiting = slices.DeleteFunc(p.waiting, func(c *Portion[K]) bool {
		fits := p.fits(c)
		if fits {
			p.enter(c)
		}
		return fits
	})
}

// fits reports whether a portion leaves as much as its holder then has. The
// caller holds the lock.
func (p *Pool[K]) fits(c *Portion[K]) bool { return p.holders[c.of]+2*c.bytes <= p.size-p.used }

// enter takes a portion. The caller holds the lock.
func (p *Pool[K]) enter(c *Portion[K]) {
	p.add(c.of, c.bytes)
	close(c.ready)
}

// add counts. The caller holds the lock.
func (p *Pool[K]) add(of K, bytes int64) {
	p.used += bytes
	if p.holders[of] += bytes; p.holders[of] == 0 {
		delete(p.holders, of) // it may have a secret in it
	}
}

// evict evicts the oldest idle portion that may be, and reports whether there was
// one.
func (p *Pool[K]) evict(of K, bytes int64) bool {
	p.mu.Lock()
	i := slices.IndexFunc(p.idle, func(c *Portion[K]) bool { return c.of == of || p.holdsMore(c.of, of, bytes) })
	if i < 0 {
		p.mu.Unlock()
		return false
	}
	c := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	p.mu.Unlock()
	c.evict()
	c.Release()
	return true
}

// preempt ends the use of the portion of another that has been in use for
// longest, and for [MinUse] at least.
func (p *Pool[K]) preempt(c *Portion[K]) {
	p.mu.Lock()
	i := slices.IndexFunc(p.preemptible, func(u *Portion[K]) bool {
		return u.of != c.of && time.Since(u.since) >= MinUse && p.holdsMore(u.of, c.of, c.bytes)
	})
	if i < 0 {
		p.mu.Unlock()
		return
	}
	u := p.preemptible[i]
	p.preemptible = slices.Delete(p.preemptible, i, i+1)
	p.mu.Unlock()
	u.end()
}

// holdsMore reports whether one holds at least as much as another would with so
// many bytes more: nobody loses to who has more. The caller holds the lock.
func (p *Pool[K]) holdsMore(one, other K, bytes int64) bool {
	return p.holders[one] >= p.holders[other]+bytes
}
