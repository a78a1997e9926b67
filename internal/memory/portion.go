package memory

import (
	"slices"
	"time"
)

// Portion is what one holder has taken of a [Pool]. Its methods may be called by
// any number of goroutines.
type Portion[K comparable] struct {
	pool  *Pool[K]
	of    K
	bytes int64
	ready chan struct{} // closed when it is taken
	idled chan struct{} // another one became idle
	evict func()        // drops what is in it, while it is idle
	since time.Time     // when it became preemptible
	end   func()        // ends its use
}

// Release returns a portion to its pool, in whatever state it is. It may be called
// again, and on nil.
func (c *Portion[K]) Release() { c.Shrink(0) }

// Shrink returns the bytes above a number to the pool.
func (c *Portion[K]) Shrink(to int64) {
	if c == nil {
		return
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	less := max(0, c.bytes-to)
	c.bytes -= less
	if take(&p.waiting, c) {
		return
	}
	if c.bytes == 0 {
		take(&p.idle, c)
		take(&p.preemptible, c)
	}
	p.add(c.of, -less)
	p.serve()
}

// Grow takes more bytes if they are free, and reports whether they were.
func (c *Portion[K]) Grow(by int64) bool {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fits(&Portion[K]{of: c.of, bytes: by}) {
		return false
	}
	c.bytes += by
	p.add(c.of, by)
	return true
}

// GrowEvicting is Grow, but evicts idle portions. It does not wait.
func (c *Portion[K]) GrowEvicting(by int64) bool {
	for !c.Grow(by) {
		if !c.pool.evict(c.of, by) {
			return false
		}
	}
	return true
}

// Idle says that nobody uses the portion until [Portion.Use] is called. When the
// portion is evicted, evict is called to drop what it contains, and then the
// portion is released. evict may take locks.
func (c *Portion[K]) Idle(evict func()) {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c.evict = evict
	p.idle = append(p.idle, c)
	for _, w := range p.waiting {
		select {
		case w.idled <- struct{}{}:
		default:
		}
	}
}

// Use takes an idle portion into use, and reports whether it was still there.
func (c *Portion[K]) Use() bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return take(&c.pool.idle, c)
}

// OnPreempt makes the portion preemptible from now on: end is called, at most once,
// to end its use. A nil end makes it not preemptible. It may be called on a nil
// portion.
func (c *Portion[K]) OnPreempt(end func()) {
	if c == nil {
		return
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	take(&p.preemptible, c)
	if c.since, c.end = time.Now(), end; end != nil {
		p.preemptible = append(p.preemptible, c)
	}
}

// take takes a portion out of a list, and reports whether it was in it.
func take[K comparable](list *[]*Portion[K], c *Portion[K]) bool {
	i := slices.Index(*list, c)
	if i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	return i >= 0
}
