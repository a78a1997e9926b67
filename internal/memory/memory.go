// Package memory divides a budget of bytes fairly among its users. It only
// counts: allocating is left to the users.
//
//   - memory.go: [Pool], the budget, and who gets a part of it when;
//   - portion.go: [Portion], a part that somebody has taken.
//
// A portion in use belongs to its holder. An idle one ([Portion.Idle]) contains
// what may be needed again, and is evicted before anybody waits. A preemptible one
// ([Portion.OnPreempt]) is in use, but its use is ended when others have waited
// for [MinUse].
package memory

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Pool is a budget of bytes. A portion is granted only if at least as many bytes
// stay free as its holder then holds. So a single holder gets up to half of the
// pool, two get a third each, and a smaller request finds room beside any number
// of larger ones. Requests that get smaller and smaller can still use up the pool:
// one that has waited for [MinUse] preempts the oldest portion that has been in
// use for as long.
//
// K identifies holders. A Pool may be used by any number of goroutines, and calls
// no function of its users while it holds its lock.
type Pool[K comparable] struct {
	size int64

	mu          sync.Mutex // no other lock is taken under it
	used        int64
	holders     map[K]int64   // bytes that each of them holds
	idle        []*Portion[K] // the oldest first
	waiting     []*Portion[K] // in order of arrival
	preemptible []*Portion[K] // the oldest first
}

// MinUse is how long a portion is used before it can be preempted. What takes
// longer, while others wait, may never end.
const MinUse = 5 * time.Second

// afterPreempting is the time that a preempted user has to release its portion
// before another one is preempted.
const afterPreempting = MinUse / 20

// NewPool returns a pool of so many bytes, of which nothing is taken.
func NewPool[K comparable](bytes int64) *Pool[K] {
	return &Pool[K]{size: bytes, holders: map[K]int64{}}
}

// Used returns how many bytes are taken, including those of idle portions.
func (p *Pool[K]) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Free returns how many bytes are not taken.
func (p *Pool[K]) Free() int64 { return p.size - p.Used() }

// Waiting returns how many calls of [Pool.Take] are waiting.
func (p *Pool[K]) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Take takes a number of bytes, cut to half of the pool. It evicts idle portions if
// it has to, and waits until there is room. If the context ends first, the error is
// its cause. A smaller request may be granted before one that came first.
func (p *Pool[K]) Take(ctx context.Context, of K, bytes int64) (*Portion[K], error) {
	if c, ok := p.TakeFree(of, bytes); ok {
		return c, nil
	}
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

// TakeFree takes a number of bytes, cut to half of the pool, if they are free. It
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

// TakeEvicting is TakeFree, but evicts idle portions.
func (p *Pool[K]) TakeEvicting(of K, bytes int64) (c *Portion[K], ok bool) {
	for c, ok = p.TakeFree(of, bytes); !ok && p.evict(of, min(bytes, p.size/2)); {
		c, ok = p.TakeFree(of, bytes)
	}
	return c, ok
}

// TakeNone returns an empty portion, which can grow.
func (p *Pool[K]) TakeNone(of K) *Portion[K] { return &Portion[K]{pool: p, of: of} }

func (p *Pool[K]) portion(of K, bytes int64) *Portion[K] {
	bytes = min(max(bytes, 1), p.size/2) // nobody ever gets more
	return &Portion[K]{pool: p, of: of, bytes: bytes, ready: make(chan struct{}), idled: make(chan struct{}, 1)}
}

// admit serves those that wait, and reports whether c does not wait any more.
func (p *Pool[K]) admit(c *Portion[K]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve()
	return !slices.Contains(p.waiting, c)
}

// serve grants the waiting portions that fit. The caller holds the lock.
func (p *Pool[K]) serve() {
	p.waiting = slices.DeleteFunc(p.waiting, func(c *Portion[K]) bool {
		fits := p.fits(c)
		if fits {
			p.enter(c)
		}
		return fits
	})
}

// fits reports whether a portion leaves as much free as its holder then holds. The
// caller holds the lock.
func (p *Pool[K]) fits(c *Portion[K]) bool { return p.holders[c.of]+2*c.bytes <= p.size-p.used }

// enter grants a portion. The caller holds the lock.
func (p *Pool[K]) enter(c *Portion[K]) {
	p.add(c.of, c.bytes)
	close(c.ready)
}

// add counts bytes of a holder. The caller holds the lock.
func (p *Pool[K]) add(of K, bytes int64) {
	p.used += bytes
	if p.holders[of] += bytes; p.holders[of] == 0 {
		delete(p.holders, of) // it may have a secret in it
	}
}

// evict evicts the oldest idle portion that may be evicted for a holder, and reports
// whether there was one.
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

// holdsMore reports whether one holds at least as much as another would with the
// given bytes in addition: nobody loses a portion to a larger holder. The caller
// holds the lock.
func (p *Pool[K]) holdsMore(one, other K, bytes int64) bool {
	return p.holders[one] >= p.holders[other]+bytes
}
