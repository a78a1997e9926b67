package find

import (
	"context"
	"errors"

	"github.com/nestedoci/nested/internal/memory"
	"github.com/nestedoci/nested/internal/oci"
)

// DefaultMemory is the budget of a gateway that was given none.
const DefaultMemory = 128 << 20

// LeastMemory is the least budget, in bytes, with which all manifests and indexes
// are served. Plain ones are read up to twice as large as those below nested
// indexes, nobody has more than half of a part of the budget, and something is
// needed beside them.
const LeastMemory = (2*2*8/contentPart + 2) * oci.MaxManifest

// The parts of the budget, in eighths. They are apart so that nobody waits for
// memory that they hold themselves: a request waits for memory for content while
// it holds none, and for what that decodes to while it holds one content. What
// searches remember is not waited for.
const contentPart, decodedPart, walkedPart = 3, 4, 1

// Memory is the budget, in bytes, of all that gateways hold for their clients:
// content and lists, from before they are read until they are sent; content that
// waits for its client, after a HEAD or read ahead; what manifests and indexes
// decode to; what searches remember. It may be used by any number of goroutines,
// and outlives a gateway.
type Memory struct{ content, decoded, walked *pool }

// pool is a part of the budget, and portion what is taken of it: by each caller
// in each repository as if they were apart.
type (
	pool    = memory.Pool[tenant]
	portion = memory.Portion[tenant]
)

// NewMemory returns a budget of which nothing is taken.
func NewMemory(bytes int64) *Memory {
	part := func(eighths int64) *pool { return memory.NewPool[tenant](bytes / 8 * eighths) }
	return &Memory{part(contentPart), part(decodedPart), part(walkedPart)}
}

// Used returns how many bytes are taken. Content that waits for its client is
// evicted when others need its memory.
func (m *Memory) Used() int64 { return m.content.Used() + m.decoded.Used() + m.walked.Used() }

// take takes memory for a request, until it ends at the latest.
func take(ctx context.Context, p *pool, bytes int64) (*portion, error) {
	b := budgetOf(ctx)
	if b.readAhead || b.holds {
		way := p.TakeFree
		if b.holds {
			way = p.TakeEvicting
		}
		if c, ok := b.takeAtOnce(way, bytes); ok {
			return c, nil
		}
		return nil, noMemory(b.tenant)
	}
	c, err := p.Take(ctx, b.tenant, b.tenant.bytes()+bytes)
	switch {
	case err == nil:
		b.adopt(c)
	case errors.Is(err, errTimeout):
		err = noMemory(b.tenant)
	}
	return c, err
}

// takeAtOnce takes memory in a way that does not wait.
func (b *budget) takeAtOnce(way func(tenant, int64) (*portion, bool), bytes int64) (*portion, bool) {
	c, ok := way(b.tenant, b.tenant.bytes()+bytes)
	if ok {
		b.adopt(c)
	}
	return c, ok
}

// memoryError says that there was no memory for a request.
type memoryError struct {
	tenant tenant
	reason string
}

func (e *memoryError) Error() string { return e.tenant.repository.String() + ": " + e.reason }

// Busy reports that asking elsewhere does not help.
func (e *memoryError) Busy() bool { return true }

// isMemoryError reports whether there was no memory for a request.
func isMemoryError(err error) bool {
	_, ok := errors.AsType[*memoryError](err)
	return ok
}

// memoryRetry is when a client that was refused may come again, in seconds:
// what others read meanwhile is done, or has timed out.
const memoryRetry = "5"

func noMemory(of tenant) error {
	return &memoryError{of, "other requests hold the memory that this one needs; try again, or raise gateway.max_memory"}
}
