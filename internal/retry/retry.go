// Package retry is the one policy by which failed requests are retried, at
// registries and token endpoints, for reading and writing. [Tries] is its state
// for one request. [Retryable] judges errors. Errors can be marked for callers
// further up that judge them again: [Final], [Spent], [Unrepeated].
//
// Its users are package auth (tokens), package registry (everything else), and
// package transport, whose retries also have to end in the time that its own
// client waits.
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
	"syscall"
	"time"
)

const (
	// maxTries is the number of tries that containerd makes.
	maxTries   = 5
	firstPause = 250 * time.Millisecond
	// MaxWait bounds the pauses of one request together: when a registry
	// demands more, an error is more helpful than the wait.
	MaxWait = time.Minute
)

// Tries is the retry policy for one request, for reading and writing, at
// registries and token endpoints: at most five tries, with pauses that double,
// are never shorter than Retry-After says, and are a minute together at most.
// The zero value is ready for use. It is for one goroutine at a time.
type Tries struct {
	failed int
	waited time.Duration
}

// After records that a try has failed, and returns how long to wait before the
// next one. It returns false when there is none: the failure is not
// [Retryable], or the tries are used up.
func (r *Tries) After(err error) (time.Duration, bool) {
	wanted, ok := Retryable(err)
	if !ok {
		return 0, false
	}
	backoff := firstPause << r.failed
	wait := max(backoff/2+rand.N(backoff), wanted)
	r.failed++
	r.waited += wait
	return wait, r.failed < maxTries && r.waited <= MaxWait
}

// Wait records that a try has failed, and waits until the time of the next one.
// It returns an error when there is none: err, or the context's cause. It
// returns at once when the context would end first. A retryable error is
// returned marked, so that nobody else retries it; see [Spent].
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

// Answered is an error that represents an answer of a registry or of a token
// endpoint.
type Answered interface {
	error
	// Answer returns the status and the pause in Retry-After, 0 for none.
	Answer() (status int, wait time.Duration)
}

// Retryable reports whether a failed request is worth retrying, and how long
// the answer asks to wait before that.
func Retryable(err error) (wait time.Duration, ok bool) {
	var t marked
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

// Spent marks the error of a request whose tries are used up. Others no longer
// see the failure of a connection in it, which they would retry, as containerd
// does by itself.
func Spent(err error) error { return marked{err, true} }

// Unrepeated marks the error of a request that must not be repeated as it is. A
// caller that can begin anew may do so, if the error is [Retryable].
func Unrepeated(err error) error { return marked{err, false} }

// IsSpent reports whether an error is marked by [Spent].
func IsSpent(err error) bool {
	var t marked
	return errors.As(err, &t) && t.spent
}

// marked hides what makes others retry. It has no Unwrap.
type marked struct {
	error
	spent bool
}

// Is implements the interface of [errors.Is].
func (t marked) Is(target error) bool {
	return target != io.EOF && target != io.ErrUnexpectedEOF && errors.Is(t.error, target)
}

// As implements the interface of [errors.As].
func (t marked) As(target any) bool {
	if _, ok := target.(*net.Error); ok {
		return false
	}
	return errors.As(t.error, target)
}

// retryableStatuses are those of transient failures.
var retryableStatuses = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// RetryableStatus reports whether a status is that of a transient failure.
func RetryableStatus(status int) bool { return slices.Contains(retryableStatuses, status) }

// IsBroken reports whether a connection, to a registry or to its token
// endpoint, failed in a way that another connection may not. Every error of an
// [http.Client] counts unless it is about the identity of the server.
func IsBroken(err error) bool {
	var broken net.Error // every *url.Error is one
	var t marked
	switch {
	case errors.As(err, &t), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isFinal(err):
		return false
	}
	return errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && isHTTP2(err.Error())
}

// isHTTP2 reports whether an error says that an HTTP/2 connection, or one
// stream in it, broke. net/http does not export these types, and
// golang.org/x/net/http2 would cost importers of this package five more
// packages.
func isHTTP2(says string) bool {
	return strings.Contains(says, "http2: ") || strings.Contains(says, "stream error: stream ID ")
}

// isFinal reports whether a request failed because of the server's identity or
// address, so that the next one will fail, too.
func isFinal(err error) bool {
	var unknown *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var refused refusal
	return errors.As(err, &unknown) && unknown.IsNotFound || errors.As(err, &untrusted) || errors.As(err, &plain) ||
		errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &refused)
}

// refusal is the error of a request that was not made because it would be
// unsafe.
type refusal struct{ error }

// Unwrap returns the error that is final.
func (r refusal) Unwrap() error { return r.error }

// Final marks an error as not retryable.
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

// sleepKey is the key of what WithSleep puts into a context.
type sleepKey struct{}

// WithSleep returns a context with sleep in the place of [Sleep]: a test over a
// real network has no other clock, and is not to wait for each pause.
func WithSleep(ctx context.Context, sleep func(ctx context.Context, wait time.Duration) bool) context.Context {
	return context.WithValue(ctx, sleepKey{}, sleep)
}

// Sleep waits, and returns false when the context ends first.
func Sleep(ctx context.Context, wait time.Duration) bool {
	if sleep, ok := ctx.Value(sleepKey{}).(func(context.Context, time.Duration) bool); ok {
		return sleep(ctx, wait)
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

// windowsRefused is Windows' number of ECONNREFUSED (WSAECONNREFUSED). Go's constant of that name has one of its own there,
// which no call returns.
const windowsRefused = syscall.Errno(10061)

// IsRefused reports whether nothing listens at an address.
func IsRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, windowsRefused)
}

// IsBusy reports whether an error says, by a method Busy, that whoever was asked
// wants to be asked less.
func IsBusy(err error) bool {
	busy, ok := errors.AsType[interface {
		error
		Busy() bool
	}](err)
	return ok && busy.Busy()
}
