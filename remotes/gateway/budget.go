package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
)

// budget bounds what one request to the gateway may cost upstream before its
// answer begins: time always, requests while content is searched for.
type budget struct {
	deadline time.Time
	requests int // that are left; the candidates of a request are asked one after another
	timer    *time.Timer
}

type budgetKey struct{}

// withBudget returns a context that ends, with errTimeout, when the time is
// over before begun is called.
func withBudget(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := &budget{deadline: time.Now().Add(limit), requests: math.MaxInt}
	b.timer = time.AfterFunc(limit, func() { cancel(errTimeout) })
	return context.WithValue(ctx, budgetKey{}, b), func() { b.timer.Stop(); cancel(nil) }
}

func budgetOf(ctx context.Context) *budget { return ctx.Value(budgetKey{}).(*budget) }

// begun says that the answer has begun; from then on only a stall ends it.
func (b *budget) begun() { b.timer.Stop() }

func (b *budget) left() time.Duration { return time.Until(b.deadline) }

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
	if wait >= b.left() {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	// maxAttempts is as many as containerd makes.
	maxAttempts = 5
	firstPause  = 250 * time.Millisecond
)

// passing are the statuses that may be others a moment later.
var passing = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// pause tells whether a failure may pass, and how long to wait: twice as long
// each time, with some jitter, and at least as long as the registry asks for.
func pause(attempt int, err error) (time.Duration, bool) {
	wait := firstPause << attempt
	wait = wait/2 + rand.N(wait)
	var status *statusError
	switch {
	case attempt+1 >= maxAttempts:
		return 0, false
	case errors.As(err, &status):
		return max(wait, status.retryAfter), slices.Contains(passing, status.code)
	}
	return wait, errdefs.IsUnavailable(err) || isBroken(err)
}

// isBroken tells whether a connection failed, to a registry or to its token
// endpoint, in a way that another one may not.
func isBroken(err error) bool {
	var broken net.Error
	var unknown *net.DNSError
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return false
	}
	return errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryAfter reads the header of that name, in seconds or as a date.
func retryAfter(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// stallTimeout ends a transfer in which nothing has moved; containerd then
// asks for the rest.
const stallTimeout = time.Minute

var errStalled = fmt.Errorf("nothing came for %s", stallTimeout)

// body is the body of an answer, which ends with an error when it stalls.
type body struct {
	io.ReadCloser
	stall  *time.Timer
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	b.stall.Reset(stallTimeout)
	return b.ReadCloser.Read(p)
}

// Close implements [io.Closer].
func (b *body) Close() error {
	b.stall.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
