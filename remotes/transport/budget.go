package transport

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"github.com/nestedoci/nested/internal/retry"
)

// budget bounds what one request to the gateway may cost upstream before its
// answer begins: time always, requests while content is searched for. It gives
// back the memory that the request has taken.
type budget struct {
	of       right
	taken    []*portion
	deadline time.Time
	requests int  // that are left; the candidates of a request are asked one after another
	hasty    bool // does not wait and ask again
	timer    *time.Timer
	cancel   context.CancelCauseFunc
}

type budgetKey struct{}

// withBudget returns a context that ends, with errTimeout, when the time is
// over before begun is called, and the function that ends the request.
func withBudget(ctx context.Context, of right, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := &budget{of: of, deadline: time.Now().Add(limit), requests: math.MaxInt, cancel: cancel}
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

// begun says that the answer has begun; from then on only a stall ends it.
func (b *budget) begun() { b.timer.Stop() }

func (b *budget) left() time.Duration { return time.Until(b.deadline) }

// adopt makes a portion the request's.
func (b *budget) adopt(c *portion) {
	b.taken = append(b.taken, c)
	c.OnPreempt(func() { b.cancel(noMemory(b.of)) })
}

// leave makes it somebody else's.
func (b *budget) leave(c *portion) {
	b.taken = slices.DeleteFunc(b.taken, func(t *portion) bool { return t == c })
	c.OnPreempt(nil)
}

// limit bounds the requests from now on.
func (b *budget) limit(requests int) { b.requests = requests }

func (b *budget) unlimit() { b.requests = math.MaxInt }

var errSpent = errors.New("gave up")

// spend takes one request out of the budget.
func (b *budget) spend() error {
	if b.requests <= 0 {
		return errSpent
	}
	b.requests--
	return nil
}

// sleep waits before another attempt. It returns false at once when that
// would be too late.
func (b *budget) sleep(ctx context.Context, wait time.Duration) bool {
	return !b.hasty && wait < b.left() && retry.Sleep(ctx, wait)
}

// body is the body of an answer, with which its request ends.
type body struct {
	io.ReadCloser
	end func()
}

// Close implements [io.Closer].
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}
