package transport

import (
	"context"
	"errors"

	"github.com/nestedoci/nested/internal/memory"
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
type Memory struct{ documents, decoded, walked *pool }

// pool is a part of the budget, and portion what is taken of it: by each caller
// in each repository as if they were apart.
type (
	pool    = memory.Pool[right]
	portion = memory.Portion[right]
)

// NewMemory returns a budget of which nothing is taken.
func NewMemory(bytes int64) *Memory {
	part := func(eighths int64) *pool { return memory.NewPool[right](bytes / 8 * eighths) }
	return &Memory{part(documentsPart), part(decodedPart), part(walkedPart)}
}

// Used returns how many bytes are taken, of which those that wait for clients
// are given up when others need them.
func (m *Memory) Used() int64 { return m.documents.Used() + m.decoded.Used() + m.walked.Used() }

// take takes memory for a request, until it ends at the latest.
func take(ctx context.Context, p *pool, bytes int64) (*portion, error) {
	b := budgetOf(ctx)
	bytes += b.of.bytes()
	if b.hasty {
		c, ok := p.TakeFree(b.of, bytes)
		if !ok {
			return nil, noMemory(b.of)
		}
		b.adopt(c)
		return c, nil
	}
	c, err := p.Take(ctx, b.of, bytes)
	switch {
	case err == nil:
		b.adopt(c)
	case errors.Is(err, errTimeout):
		err = noMemory(b.of)
	}
	return c, err
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
