package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
)

// maxCame bounds what is kept of an answer that may have to be handed on.
const maxCame = 64 << 10

// CameError is the answer to a client's own request that is no content, for the
// client to see as it came unless the content is elsewhere; or why none came.
type CameError struct {
	Answer *http.Response // nil: none came
	Err    error
}

// Came is the error that an answer is which the client sees as it came.
func Came(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxCame))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return &CameError{Err: err}
	}
	resp.Header = resp.Header.Clone()
	if resp.Request.Method != http.MethodHead {
		resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
		resp.ContentLength = int64(len(data))
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return &CameError{Answer: resp}
}

func (e *CameError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return StatusErrorOf(e.Answer).Error()
}

// Unwrap gives the error its class.
func (e *CameError) Unwrap() error {
	if e.Answer != nil && e.Answer.StatusCode == http.StatusNotFound {
		return errdefs.ErrNotFound
	}
	return e.Err
}

// IsChallenge reports whether a client has to show what its repository asks for,
// and ask again.
func (e *CameError) IsChallenge() bool {
	return e.Answer != nil && e.Answer.StatusCode == http.StatusUnauthorized
}

// Busy reports whether the registry wants to be asked less.
func (e *CameError) Busy() bool {
	return e.Answer != nil && e.Answer.StatusCode == http.StatusTooManyRequests
}

// IsRefusal reports whether an error is a registry's last word: that something is
// not there, or not for who asks.
func IsRefusal(err error) bool {
	if errdefs.IsNotFound(err) || errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) {
		return true
	}
	code := 0
	if came, ok := errors.AsType[*CameError](err); ok && came.Answer != nil {
		code = came.Answer.StatusCode
	} else if status, ok := errors.AsType[*StatusError](err); ok {
		code = status.StatusCode
	}
	return code/100 == 4 && !retry.RetryableStatus(code)
}
