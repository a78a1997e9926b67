package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/internal/retry"
)

// StatusError is an answer of a registry that is neither content nor a 404 nor a
// denial. It wraps containerd's error for such an answer, whose URL has lost its
// query: where a redirect leads is signed there.
type StatusError struct {
	remoteerrors.ErrUnexpectedStatus
	RetryAfter time.Duration // 0: none
	Elsewhere  bool          // it came from a host to which the registry redirects
}

// ReadStatusError turns an answer into an error. It reads up to 64 kB of the body,
// as containerd does; the caller closes it.
func ReadStatusError(resp *http.Response) *StatusError {
	var status remoteerrors.ErrUnexpectedStatus
	_ = errors.As(remoteerrors.NewUnexpectedStatusErr(resp), &status) // it is of this type
	e := newStatusError(status)
	e.RetryAfter = retry.After(resp)
	return e
}

// StatusErrorOf is the error for an answer whose body is the caller's. It does not
// say what was asked, as the path of an upload may give the right to go on with it.
func StatusErrorOf(resp *http.Response) *StatusError {
	asked := url.URL{Scheme: resp.Request.URL.Scheme, Host: resp.Request.URL.Host}
	e := newStatusError(remoteerrors.ErrUnexpectedStatus{StatusCode: resp.StatusCode, Status: resp.Status, RequestMethod: resp.Request.Method, RequestURL: asked.String()})
	e.RetryAfter = retry.After(resp)
	return e
}

func newStatusError(status remoteerrors.ErrUnexpectedStatus) *StatusError {
	status.RequestURL, _, _ = strings.Cut(status.RequestURL, "?")
	return &StatusError{ErrUnexpectedStatus: status}
}

// by returns a denial where one of the hosts refuses the credential, and else the
// error with whether it came from elsewhere.
func (e StatusError) by(ctx context.Context, hosts []Host) error {
	asked, err := url.Parse(e.RequestURL)
	e.Elsewhere = err == nil
	for _, host := range hosts {
		if err != nil || !host.Authorizer.Owns(asked) {
			continue
		}
		e.Elsewhere = false
		if e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden {
			return host.Authorizer.Denied(ctx, fmt.Sprintf("the registry answered %d %s", e.StatusCode, http.StatusText(e.StatusCode)))
		}
	}
	return &e
}

// Answer implements [retry.Answered].
func (e *StatusError) Answer() (int, time.Duration) { return e.StatusCode, e.RetryAfter }

// Complaint is the registry's own explanation, if it gave one.
func (e *StatusError) Complaint() Complaint { return ComplaintIn(e.Body) }

// Error says who answered what, and what to do about it. The registry's words are
// escaped and cut.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.who(), e.StatusCode, http.StatusText(e.StatusCode))
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", asking to wait for %s", e.RetryAfter.Round(time.Second))
	}
	if words := e.Complaint().String(); words != "" {
		const shown = 256
		quoted := strconv.QuoteToASCII(words[:min(len(words), shown)])
		text += ": " + quoted[1:len(quoted)-1]
	}
	return text + e.next()
}

// who is what was asked, and whom; of storage the host alone, because some sign in
// the path.
func (e *StatusError) who() string {
	asked, err := url.Parse(e.RequestURL)
	switch {
	case err != nil:
		return "the registry"
	case e.Elsewhere:
		return asked.Host
	case asked.Path == "":
		return "registry " + asked.Host
	}
	return fmt.Sprintf("%s %s: registry %s", e.RequestMethod, asked.EscapedPath(), asked.Host)
}

// next is the next step for the user.
func (e *StatusError) next() string {
	switch {
	case e.Elsewhere && e.StatusCode/100 == 4:
		return "; the registry redirects there, so that another login changes nothing: try again, or ask who runs the registry"
	case e.Elsewhere:
		return "; the registry redirects there: try again, or ask who runs the registry"
	case retry.RetryableStatus(e.StatusCode):
		return "; try again later"
	}
	return ""
}

// Unwrap returns containerd's error.
func (e *StatusError) Unwrap() error { return e.ErrUnexpectedStatus }

// Busy reports whether the registry wants to be asked less.
func (e *StatusError) Busy() bool { return e.StatusCode == http.StatusTooManyRequests }
