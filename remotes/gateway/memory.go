package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// DefaultMemory is the budget of a gateway that was given none.
const DefaultMemory = 128 << 20

// MemoryBeside is what a gateway's process takes besides its [Memory], in
// bytes: its own, buffers of connections, and what is bounded by number and
// small (rights, carriers, names of what is fetched ahead).
const MemoryBeside = 64 << 20

// LeastMemory is the least budget, in bytes, with which all documents are
// served: twice the 4 MiB of those below nested indexes are read of plain ones,
// nobody has more than half of a part of the budget, and something is needed
// beside them.
const LeastMemory = (2*2*8/documentsPart + 2) * (4 << 20)

// The parts of the budget, in eighths. They are apart so that nobody waits for
// what they hold themselves: documents are waited for by who holds none, what is
// made of them by who holds one and then gives it back, and what searches
// remember by nobody.
const documentsPart, decodedPart, walkedPart = 3, 4, 1

// Memory is the budget, in bytes, of all that gateways hold for their clients:
// documents and lists, from before they are read until they are sent; those
// that wait for their client, after a HEAD or fetched ahead; what is made of
// documents while they are read; what searches remember. It may be used by any
// number of goroutines, and outlives a gateway.
type Memory struct{ documents, decoded, walked pool }

// NewMemory returns a budget of which nothing is taken.
func NewMemory(bytes int64) *Memory {
	part := func(eighths int64) pool { return pool{size: bytes / 8 * eighths} }
	return &Memory{part(documentsPart), part(decodedPart), part(walkedPart)}
}

// Used returns how many bytes are taken, of which those that wait for clients
// are given up when others need them.
func (m *Memory) Used() int64 { return m.documents.taken() + m.decoded.taken() + m.walked.taken() }

// pool is one part of the budget. Whoever takes of it leaves at least as much
// free as they then hold: one alone has half of it, two have a third each, and
// however many there are, who comes with something smaller finds room. Each may
// be smaller than the one before, so that in the end there is none: who has waited
// for a while ends the oldest request that has had its memory for as long.
type pool struct {
	size int64

	mu      sync.Mutex // no other lock is taken under it
	used    int64
	holders map[right]int64 // what each of them holds
	kept    []*portion      // that nobody uses, the oldest first
	waiting []*portion      // the first first
	inUse   []*portion      // by requests that can be ended, the oldest first
}

// portion is what somebody takes of a pool.
type portion struct {
	pool  *pool
	of    right
	bytes int64
	ready chan struct{} // closed when it is taken
	nudge chan struct{} // something is kept that was not
	drop  func()        // gives up what is kept in it
	since time.Time     // when it was taken by a request
	end   func()        // ends that; nil: it was ended
}

func (p *pool) portion(of right, bytes int64) *portion {
	bytes = min(max(bytes, 1), p.size/2) // more than that nobody ever has
	return &portion{pool: p, of: of, bytes: bytes, ready: make(chan struct{}), nudge: make(chan struct{}, 1)}
}

// memoryError is of a request for which there was no memory.
type memoryError struct {
	of     right
	reason string
}

func (e *memoryError) Error() string { return e.of.repository.String() + ": " + e.reason }

// Busy reports that asking elsewhere does not help.
func (e *memoryError) Busy() bool { return true }

// refused reports whether an error is of a request for which there was no memory.
func refused(err error) bool {
	_, ok := errors.AsType[*memoryError](err)
	return ok
}

// memoryRetry is when a client that was refused may come again, in seconds:
// what others read meanwhile is done, or has timed out.
const memoryRetry = "5"

func noMemory(of right) error {
	return &memoryError{of, "other requests hold the memory that this one needs; try again, or raise gateway.max_memory"}
}

// take waits until there is room, or the context ends. What others keep is
// given up before that. Who needs less may be served before who came first.
func (p *pool) take(ctx context.Context, of right, bytes int64) (*portion, error) {
	c := p.portion(of, bytes)
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	patience := time.NewTimer(memoryPatience)
	defer patience.Stop()
	for {
		if !p.admit(c) && p.giveUp(of, c.bytes) {
			continue
		}
		select {
		case <-c.ready:
			return c, nil
		case <-c.nudge:
		case <-patience.C:
			p.endOldest(c)
			patience.Reset(memoryPatience / 20) // in which a request that was ended gives its memory back
		case <-ctx.Done():
			c.release()
			if errors.Is(context.Cause(ctx), errTimeout) {
				return nil, noMemory(of)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// takeFree takes what is free, and does not wait.
func (p *pool) takeFree(of right, bytes int64) (*portion, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.portion(of, bytes)
	if !p.fits(c) {
		return nil, noMemory(of)
	}
	p.enter(c)
	return c, nil
}

// memoryPatience is for how long a request has its memory to itself when others
// wait: a registry that needs longer for a document may be one that never ends
// it, and a client comes again.
const memoryPatience = 5 * time.Second

// usedBy says how the request can be ended that has the portion from now on;
// nil: none has it.
func (c *portion) usedBy(end func()) {
	if c == nil {
		return
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse = slices.DeleteFunc(p.inUse, func(u *portion) bool { return u == c })
	if c.since, c.end = time.Now(), end; end != nil {
		p.inUse = append(p.inUse, c)
	}
}

// endOldest ends the request of another that has had memory for longest, unless
// it is for less than [memoryPatience] or less than whom it would be ended for
// has.
func (p *pool) endOldest(c *portion) {
	p.mu.Lock()
	var end func()
	for _, u := range p.inUse {
		if u.end != nil && u.of != c.of && time.Since(u.since) >= memoryPatience && p.holders[u.of] >= p.holders[c.of]+c.bytes {
			end, u.end = u.end, nil
			break
		}
	}
	p.mu.Unlock()
	if end != nil {
		end()
	}
}

// admit serves those that wait, and reports whether one was among them that did.
func (p *pool) admit(c *portion) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve()
	return !slices.Contains(p.waiting, c)
}

// oldest takes out what was kept longest, unless by one that holds less than
// whom it would be given up for. The caller holds the lock.
func (p *pool) oldest(c *portion) *portion {
	i := slices.IndexFunc(p.kept, func(k *portion) bool { return k.of == c.of || p.holders[k.of] >= p.holders[c.of]+c.bytes })
	if i < 0 {
		return nil
	}
	kept := p.kept[i]
	p.kept = slices.Delete(p.kept, i, i+1)
	return kept
}

// giveUp gives up something that is kept, and reports whether there was any.
func (p *pool) giveUp(of right, bytes int64) bool {
	p.mu.Lock()
	kept := p.oldest(&portion{of: of, bytes: bytes})
	p.mu.Unlock()
	if kept == nil {
		return false
	}
	kept.drop()
	kept.release()
	return true
}

// serve lets in those that wait and find room. The caller holds the lock.
func (p *pool) serve() {
	p.waiting = slices.DeleteFunc(p.waiting, func(c *portion) bool {
		fits := p.fits(c)
		if fits {
			p.enter(c)
		}
		return fits
	})
}

// fits reports whether a portion leaves as much as its holder then has. The
// caller holds the lock.
func (p *pool) fits(c *portion) bool { return p.holders[c.of]+2*c.bytes <= p.size-p.used }

// enter takes a portion. The caller holds the lock.
func (p *pool) enter(c *portion) {
	p.add(c.of, c.bytes)
	close(c.ready)
}

// add counts. The caller holds the lock.
func (p *pool) add(of right, bytes int64) {
	if p.holders == nil {
		p.holders = map[right]int64{}
	}
	p.used += bytes
	if p.holders[of] += bytes; p.holders[of] == 0 {
		delete(p.holders, of) // it may have a password in it
	}
}

// release gives a portion back, in whatever state it is. It may be called
// again, and of nil.
func (c *portion) release() { c.shrink(0) }

// shrink gives back what is more than some bytes.
func (c *portion) shrink(to int64) {
	if c == nil {
		return
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	less := max(0, c.bytes-to)
	c.bytes -= less
	if i := slices.Index(p.waiting, c); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return
	}
	if c.bytes == 0 {
		c.unkeep()
		p.inUse = slices.DeleteFunc(p.inUse, func(u *portion) bool { return u == c })
	}
	p.add(c.of, -less)
	p.serve()
}

// grow reports whether so much more is free, and takes it.
func (c *portion) grow(by int64) bool {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fits(&portion{of: c.of, bytes: by}) {
		return false
	}
	c.bytes += by
	p.add(c.of, by)
	return true
}

// keep says that nobody uses the portion until use is called: drop, which may
// take locks, gives up what is in it.
func (c *portion) keep(drop func()) {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c.drop = drop
	p.kept = append(p.kept, c)
	for _, w := range p.waiting {
		select {
		case w.nudge <- struct{}{}:
		default:
		}
	}
}

// use reports whether what is kept in the portion is still there, and in use
// from now on.
func (c *portion) use() bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.unkeep()
}

// unkeep is use. The caller holds the lock.
func (c *portion) unkeep() bool {
	i := slices.Index(c.pool.kept, c)
	if i >= 0 {
		c.pool.kept = slices.Delete(c.pool.kept, i, i+1)
	}
	return i >= 0
}

func (p *pool) taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
