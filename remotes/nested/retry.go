package nested

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// maxTries is as many as containerd makes.
	maxTries   = 5
	firstPause = 250 * time.Millisecond
	// maxPause is what a registry may ask to be waited for. It is an error then, which says so.
	maxPause = time.Minute
)

// passing are statuses that may be others a moment later. containerd asks again at once after a 429, once after a 503
// or 504, not after a 502, and waits for nothing.
var passing = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// again sends a request until its answer has another status than the passing ones, with pauses that double and are at
// least as long as the registry asks for. What has a body is sent once.
func again(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	for try := range maxTries {
		resp, err := send(req)
		if err != nil || !slices.Contains(passing, resp.StatusCode) || req.Method != http.MethodGet && req.Method != http.MethodHead {
			return resp, err
		}
		asked := retryAfter(resp.Header)
		if try+1 == maxTries || asked > maxPause {
			discard(resp)
			return nil, &busyError{req.URL.Host, resp.Status, try + 1, asked}
		}
		discard(resp)
		pause := firstPause << try
		if err := sleep(req.Context(), max(asked, pause/2+rand.N(pause))); err != nil {
			return nil, err
		}
	}
	panic("unreachable: the last try returns")
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// busyError says that a registry did not come to answer. Its class is errdefs.ErrUnavailable.
type busyError struct {
	host, status string
	tries        int
	wait         time.Duration // that it asks for; 0 for none
}

func (e *busyError) Error() string {
	text := fmt.Sprintf("%s answered %s to %d requests", e.host, e.status, e.tries)
	if e.wait > 0 {
		text += fmt.Sprintf("; it asks to wait for %v", e.wait.Round(time.Second))
	}
	return text
}

func (e *busyError) Unwrap() error { return errdefs.ErrUnavailable }

// retryAfter reads the header of that name, in seconds or as a date; 0 for none.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}
