package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// failure is an error with the answer that it becomes.
type failure struct {
	status  int
	code    string // of the distribution spec, section "Error Codes"
	message string
}

func (f *failure) Error() string { return f.message }

// errTimeout is the cause of requests that took too long.
var errTimeout = errors.New("no answer in time")

// fail is the funnel that turns errors into answers. containerd goes on to
// the next host whatever the status, and shows the message to its user.
func (g *Gateway) fail(ctx context.Context, q request, err error) *http.Response {
	if errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) && !refused(err) {
		err = fmt.Errorf("%s: %w", q.repository, errTimeout)
	}
	if cause := context.Cause(ctx); refused(cause) {
		err = cause // it was ended for others
	}
	f := classify(err, q.kind)
	message := printable(f.message)
	header := http.Header{"Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}}
	if g.options.Mode == Pod && f.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Basic realm="nested"`)
	} else if f.status == http.StatusUnauthorized {
		f.status, f.code = http.StatusForbidden, "DENIED" // whom a 401 asks for credentials, gives them
	}
	body, failed := json.Marshal(map[string]any{"errors": []map[string]string{{"code": f.code, "message": message}}})
	if failed != nil {
		body = nil // strings encode
	}
	if refused(err) {
		header.Set("Retry-After", memoryRetry)
	}
	fields := log.Fields{"status": f.status}
	if q.repository != (auth.Repository{}) {
		fields["repository"], fields["kind"] = q.repository.String(), string(q.kind)
	}
	logger := log.G(ctx).WithFields(fields)
	switch {
	case g.options.Mode == Pod && f.status == http.StatusUnauthorized && q.caller == (caller{}):
		logger.Debug(message) // clients show credentials when they are asked for them
	case f.status == http.StatusNotFound:
		logger.Info(message)
	default:
		logger.Warn(message)
	}
	return answerWith(f.status, header, body)
}

// classify finds the answer for an error. What cannot be told to be the
// caller's or the registry's no is a gateway's error.
func classify(err error, k kind) *failure {
	var f *failure
	var denied *auth.DeniedError
	var invalid *nested.InvalidError
	var status *statusError
	switch {
	case errors.As(err, &f):
		return &failure{f.status, f.code, err.Error()}
	case refused(err):
		return &failure{http.StatusServiceUnavailable, "UNKNOWN", err.Error()}
	case errors.As(err, &denied) && (denied.Anonymous || denied.Refused):
		return &failure{http.StatusUnauthorized, "UNAUTHORIZED", err.Error()}
	case errors.As(err, &denied):
		return &failure{http.StatusForbidden, "DENIED", err.Error()}
	case errors.As(err, &invalid):
		return &failure{http.StatusBadRequest, "MANIFEST_INVALID", err.Error()}
	case errdefs.IsNotFound(err):
		return &failure{http.StatusNotFound, unknownCodes[k], err.Error()}
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return &failure{http.StatusGatewayTimeout, "UNKNOWN", err.Error()}
	case errors.As(err, &status):
		return &failure{status.answer(), "UNKNOWN", err.Error()}
	}
	return &failure{http.StatusBadGateway, "UNKNOWN", err.Error()}
}

var unknownCodes = map[kind]string{manifests: "MANIFEST_UNKNOWN", blobs: "BLOB_UNKNOWN", referrers: "MANIFEST_UNKNOWN", tags: "NAME_UNKNOWN"}

// statusError is an answer of a registry that is neither content, nor an
// absence, nor a denial.
type statusError struct {
	host       string
	code       int
	message    string // the registry's own, if it gave one
	retryAfter time.Duration
	elsewhere  bool // it is a host to which the registry redirects
}

// Answer implements [retry.Answered].
func (e *statusError) Answer() (int, time.Duration) { return e.code, e.retryAfter }

func (e *statusError) Error() string {
	text := fmt.Sprintf("registry %s answered %d %s", e.host, e.code, http.StatusText(e.code))
	if e.elsewhere {
		text = fmt.Sprintf("%s answered %d %s", e.host, e.code, http.StatusText(e.code))
	}
	if e.message != "" {
		text += fmt.Sprintf(" %.200q", e.message)
	}
	if e.retryAfter > 0 {
		text += fmt.Sprintf("; it asks to wait for %s", e.retryAfter)
	}
	if e.elsewhere {
		text += "; the registry redirects there, so that another login changes nothing: try again, or ask who runs the registry"
	}
	return text
}

// Busy reports whether the registry wants to be asked less.
func (e *statusError) Busy() bool { return e.code == http.StatusTooManyRequests }

func isBusy(err error) bool {
	busy, ok := errors.AsType[interface {
		error
		Busy() bool
	}](err)
	return ok && busy.Busy()
}

// answer is the status that the error becomes. A 429 is never relayed:
// containerd would ask again five times at once.
func (e *statusError) answer() int {
	switch {
	case e.code == http.StatusTooManyRequests, e.code == http.StatusServiceUnavailable:
		return http.StatusServiceUnavailable
	case e.code >= 400 && e.code < 500 && e.code != http.StatusUnauthorized && e.code != http.StatusRequestTimeout:
		return e.code
	}
	return http.StatusBadGateway
}

// maxMessage bounds what of an error is shown; some quote registries.
const maxMessage = 2048

// printable is a message on one line, without control characters.
func printable(s string) string {
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
