package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

const (
	// maxAttempts is as many as containerd makes.
	maxAttempts = 5
	firstPause  = 250 * time.Millisecond
)

// Pause returns how long to wait after a failed attempt, the first of which is
// 0: twice as long each time, with some jitter. It returns false when enough
// attempts were made.
func Pause(attempt int) (time.Duration, bool) {
	wait := firstPause << attempt
	return wait/2 + rand.N(wait), attempt+1 < maxAttempts
}

// passing are the statuses that may be others a moment later.
var passing = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// MayPass tells whether a status may be another one a moment later.
func MayPass(status int) bool { return slices.Contains(passing, status) }

// IsBroken tells whether a connection failed, to a registry or to its token
// endpoint, in a way that another one may not. What an [http.Client] says is
// so unless it is about who answers.
func IsBroken(err error) bool {
	var broken net.Error // every *url.Error is one
	var stream http2.StreamError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isFinal(err):
		return false
	}
	return errors.As(err, &broken) || errors.As(err, &stream) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		err != nil && strings.Contains(err.Error(), "http2: ") // of a whole connection; net/http has no type for it
}

// isFinal tells whether a request failed because of who answers, or of where
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

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// WithoutURL takes the URLs, which may hold secrets, out of the error of an
// [http.Client]. The rest is a [net.Error] as before.
func WithoutURL(err error) error {
	for {
		var client *url.Error
		if !errors.As(err, &client) {
			return err
		}
		err = bareError{client.Err, client.Timeout()}
	}
}

// bareError is a client's error without its URL.
type bareError struct {
	error
	timeout bool
}

func (e bareError) Unwrap() error { return e.error }

// Timeout implements [net.Error].
func (e bareError) Timeout() bool { return e.timeout }

// Temporary implements [net.Error].
func (e bareError) Temporary() bool { return e.timeout }

// RetryAfter reads the header of that name, in seconds or as a date.
func RetryAfter(resp *http.Response) time.Duration {
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
