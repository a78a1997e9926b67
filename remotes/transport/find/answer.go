package find

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// Failure is an error with the answer that it becomes.
type Failure struct {
	Status  int
	Code    string // of the distribution spec, section "Error Codes"
	Message string
}

func (f *Failure) Error() string { return f.Message }

// errTimeout is the cause of requests that took too long.
var errTimeout = errors.New("no answer in time")

// Refuse turns an error into its answer; all errors pass through it. containerd
// goes on to the next host whatever the status, and shows the message to its
// user.
func (f *Finder) Refuse(ctx context.Context, q Request, err error) *http.Response {
	if errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) && !isMemoryError(err) {
		err = fmt.Errorf("%s: %w", q.repository, errTimeout)
	}
	if cause := context.Cause(ctx); isMemoryError(cause) {
		err = cause // it was preempted
	}
	no := classify(err, q.kind)
	if denied, ok := errors.AsType[*auth.DeniedError](err); ok && f.options.Complete && denied.Anonymous {
		no.Message = "log in here first, as docker login does" // not at the registry that is asked
	}
	message := sanitize.Message(no.Message)
	header := http.Header{"Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}}
	if f.options.PerCaller && no.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Basic realm="nested"`)
	} else if no.Status == http.StatusUnauthorized {
		no.Status, no.Code = http.StatusForbidden, "DENIED" // CRI answers a 401 with credentials
	}
	if isMemoryError(err) {
		header.Set("Retry-After", memoryRetry)
	}
	var answered retry.Answered
	if f.options.Complete && errors.As(err, &answered) {
		if status, wait := answered.Answer(); status == http.StatusTooManyRequests {
			no.Status, no.Code = status, "TOOMANYREQUESTS"
			header.Set("Retry-After", strconv.Itoa(int(max(wait, time.Second).Seconds())))
		}
	}
	body, _ := json.Marshal(map[string]any{"errors": []map[string]string{{"code": no.Code, "message": message}}}) // strings encode
	fields := log.Fields{"status": no.Status}
	if q.repository != (auth.Repository{}) {
		fields["repository"], fields["kind"] = q.repository.String(), string(q.kind)
	}
	logger := log.G(ctx).WithFields(fields)
	switch {
	case f.options.PerCaller && no.Status == http.StatusUnauthorized && q.caller == (callers.Caller{}):
		logger.Debug(message) // clients show credentials after a 401
	case no.Status == http.StatusNotFound:
		logger.Info(message)
	default:
		logger.Warn(message)
	}
	return answers.With(no.Status, header, body)
}

// classify returns the answer to an error. It is 502 unless the error is the
// caller's fault or the registry's refusal.
func classify(err error, k Kind) *Failure {
	var f *Failure
	var denied *auth.DeniedError
	var invalid *nested.InvalidError
	var status *registry.StatusError
	switch {
	case errors.As(err, &f):
		return &Failure{f.Status, f.Code, err.Error()}
	case isMemoryError(err):
		return &Failure{http.StatusServiceUnavailable, "UNKNOWN", err.Error()}
	case errors.As(err, &denied) && (denied.Anonymous || denied.Refused):
		return &Failure{http.StatusUnauthorized, "UNAUTHORIZED", err.Error()}
	case errors.As(err, &denied):
		return &Failure{http.StatusForbidden, "DENIED", err.Error()}
	case errors.As(err, &invalid):
		return &Failure{http.StatusBadRequest, "MANIFEST_INVALID", err.Error()}
	case errdefs.IsNotFound(err):
		return &Failure{http.StatusNotFound, unknownCodes[k], err.Error()}
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return &Failure{http.StatusGatewayTimeout, "UNKNOWN", err.Error()}
	case errors.As(err, &status):
		return &Failure{answerTo(status.StatusCode), "UNKNOWN", err.Error()}
	}
	return &Failure{http.StatusBadGateway, "UNKNOWN", err.Error()}
}

var unknownCodes = map[Kind]string{Manifests: "MANIFEST_UNKNOWN", Blobs: "BLOB_UNKNOWN", Referrers: "MANIFEST_UNKNOWN", Tags: "NAME_UNKNOWN"}

// answerTo is the status that the client gets for one of a registry. A 429 is
// never passed on: containerd would retry five times at once.
func answerTo(code int) int {
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return http.StatusServiceUnavailable
	case code >= 400 && code < 500 && code != http.StatusUnauthorized && code != http.StatusRequestTimeout:
		return code
	}
	return http.StatusBadGateway
}
