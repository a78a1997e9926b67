// Package retry is the one policy by which failed requests are made again, at
// registries and token endpoints, for reading and writing. [Tries] is the state
// of a request under it; [Retryable] judges errors, and an error can be marked
// for whoever judges it further up: [Final], [Spent], [Unrepeated].
package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxTries is as many as containerd makes.
	maxTries   = 5
	firstPause = 250 * time.Millisecond
	// MaxWait bounds the pauses of one request together: who is asked to wait
	// for longer is better told so.
	MaxWait = time.Minute
)

// Tries is the policy by which a failed request is made again, for reading and
// writing, at registries and token endpoints: five times at most, with pauses
// that double and are never shorter than Retry-After asks for, and that are a
// minute together at most. A Tries is the state of one request; its zero value
// is ready for use. It is for one goroutine at a time.
type Tries struct {
	failed int
	waited time.Duration
}

// After takes note that a try has failed, and returns how long to wait before
// the next one. It returns false when there is to be none: the failure is not
// one that may pass (see [Retryable]), or was the last that is borne.
func (r *Tries) After(err error) (time.Duration, bool) {
	asked, ok := Retryable(err)
	if !ok {
		return 0, false
	}
	backoff := firstPause << r.failed
	wait := max(backoff/2+rand.N(backoff), asked)
	r.failed++
	r.waited += wait
	return wait, r.failed < maxTries && r.waited <= MaxWait
}

// Wait takes note that a try has failed, and waits until the next one is due.
// It returns an error when there is to be none: err, or the context's cause.
// Where it would wait for longer than the context lives, it returns at once.
// An error that could pass is marked, so that nobody asks again, see [Spent].
func (r *Tries) Wait(ctx context.Context, err error) error {
	wait, more := r.After(err)
	if _, ok := Retryable(err); !ok {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		more = false
	}
	if !more {
		return Spent(err)
	}
	if !Sleep(ctx, wait) {
		return context.Cause(ctx)
	}
	return nil
}

// Answered is an error that stands for an answer of a registry or of a token
// endpoint.
type Answered interface {
	error
	// Answer returns the status, and the pause that Retry-After asks for, 0 for
	// none.
	Answer() (status int, wait time.Duration)
}

// Retryable reports whether a request that failed with an error is worth
// another try, and how long the answer asks to wait before it.
func Retryable(err error) (wait time.Duration, ok bool) {
	var t tried
	if errors.As(err, &t) {
		if t.spent {
			return 0, false
		}
		err = t.error
	}
	var answer Answered
	if errors.As(err, &answer) {
		status, wait := answer.Answer()
		return wait, RetryableStatus(status)
	}
	return 0, IsBroken(err)
}

// Spent marks the error of a request that was made as often as it is to be. To
// those who look at it, it is no failure of a connection that they would meet by asking again,
// as containerd does by itself.
func Spent(err error) error { return tried{err, true} }

// Unrepeated marks the error of a request that nobody is to make again as it
// is. Whoever can begin anew may, if it is [Retryable].
func Unrepeated(err error) error { return tried{err, false} }

// IsSpent reports whether an error is marked by [Spent].
func IsSpent(err error) bool {
	var t tried
	return errors.As(err, &t) && t.spent
}

// tried hides what makes others ask again. It has no Unwrap.
type tried struct {
	error
	spent bool
}

// Is is for [errors.Is].
func (t tried) Is(target error) bool {
	return target != io.EOF && target != io.ErrUnexpectedEOF && errors.Is(t.error, target)
}

// As is for [errors.As].
func (t tried) As(target any) bool {
	if _, ok := target.(*net.Error); ok {
		return false
	}
	return errors.As(t.error, target)
}

// passing are the statuses that may be others a moment later.
var passing = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// RetryableStatus reports whether a status may be another one a moment later.
func RetryableStatus(status int) bool { return slices.Contains(passing, status) }

// IsBroken reports whether a connection failed, to a registry or to its token
// endpoint, in a way that another one may not. What an [http.Client] says is
// so unless it is about who answers.
func IsBroken(err error) bool {
	var broken net.Error // every *url.Error is one
	var t tried
	switch {
	case errors.As(err, &t), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isFinal(err):
		return false
	}
	return errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && isHTTP2(err.Error())
}

// isHTTP2 reports whether an error says of a connection over HTTP/2, or of one
// stream in it, that it broke. net/http exports no types of these, and those of
// golang.org/x/net/http2 would cost who imports this package five more.
func isHTTP2(says string) bool {
	return strings.Contains(says, "http2: ") || strings.Contains(says, "stream error: stream ID ")
}

// isFinal reports whether a request failed because of who answers, or of where
// it would go: the next one will, too.
func isFinal(err error) bool {
	var unknown *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var refused refusal
	return errors.As(err, &unknown) && unknown.IsNotFound || errors.As(err, &untrusted) || errors.As(err, &plain) ||
		errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &refused)
}

// refusal is of a request that is not made, for the requester's own sake.
type refusal struct{ error }

// Unwrap returns the error that is final.
func (r refusal) Unwrap() error { return r.error }

// Final marks an error as one that another try would meet, too.
func Final(err error) error { return refusal{err} }

// After reads the header Retry-After of an answer, in seconds or as a date; 0 when
// there is none.
func After(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// Sleep waits, unless the context ends before; then it returns false.
func Sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
