package find

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nestedoci/nested/internal/retry"
)

// budget bounds what one request may cost before its answer begins: always its
// time, and the number of requests to registries while content is searched for.
// It owns the memory that the request has taken, until the request ends.
type budget struct {
	tenant    tenant
	taken     []*portion
	deadline  time.Time
	requests  atomic.Int64 // that are left; some are made side by side
	readAhead bool         // nobody waits for it: it takes no memory that others need, and is not retried
	holds     bool         // it is part of a request that holds memory, and waits for none
	timer     *time.Timer
	cancel    context.CancelCauseFunc
}

type budgetKey struct{}

// withBudget returns the context of a request and the function that ends it. The
// context ends with errTimeout after limit, unless begun is called before.
func withBudget(ctx context.Context, of tenant, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := &budget{tenant: of, deadline: time.Now().Add(limit), cancel: cancel}
	b.unlimit()
	b.timer = time.AfterFunc(limit, func() { cancel(errTimeout) })
	return context.WithValue(ctx, budgetKey{}, b), func() {
		b.timer.Stop()
		cancel(nil)
		for _, c := range b.taken {
			c.Release()
		}
	}
}

func budgetOf(ctx context.Context) *budget { return ctx.Value(budgetKey{}).(*budget) }

// begun says that the answer has begun. From then on only a stall ends it.
func (b *budget) begun() { b.timer.Stop() }

func (b *budget) left() time.Duration { return time.Until(b.deadline) }

// adopt makes a portion the request's.
func (b *budget) adopt(c *portion) {
	b.taken = append(b.taken, c)
	c.OnPreempt(func() { b.cancel(noMemory(b.tenant)) })
}

// disown makes a portion somebody else's.
func (b *budget) disown(c *portion) {
	b.taken = slices.DeleteFunc(b.taken, func(t *portion) bool { return t == c })
	c.OnPreempt(nil)
}

// limit bounds the requests from now on.
func (b *budget) limit(requests int64) { b.requests.Store(requests) }

func (b *budget) unlimit() { b.requests.Store(math.MaxInt64) }

var errSpent = errors.New("gave up")

// spend takes one request out of the budget.
func (b *budget) spend() error {
	if b.requests.Add(-1) < 0 {
		b.requests.Add(1)
		return errSpent
	}
	return nil
}

// sleep waits before a retry. It returns false at once if that would be too late.
func (b *budget) sleep(ctx context.Context, wait time.Duration) bool {
	return !b.readAhead && wait < b.left() && retry.Sleep(ctx, wait)
}

// body is the body of an answer, with which its request ends.
type body struct {
	io.ReadCloser
	end func()
}

// buffers hold two records of TLS, more than which no read returns.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// WriteTo implements [io.WriterTo].
func (b *body) WriteTo(w io.Writer) (int64, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return io.CopyBuffer(w, b.ReadCloser, *buffer)
}

// Close implements [io.Closer].
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}
