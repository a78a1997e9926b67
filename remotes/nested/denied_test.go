package nested

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

type withField struct{ StatusCode string }

func (withField) Error() string { return "an error" }

// TestIsBusy: who asks for less, in the words of containerd's resolver and of this project's client.
func TestIsBusy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		busy bool
	}{
		"docker's":            {fmt.Errorf("fetch: %w", remoteerrors.ErrUnexpectedStatus{StatusCode: 429}), true},
		"docker's 503":        {remoteerrors.ErrUnexpectedStatus{StatusCode: 503}, false},
		"an answer":           {retry.Spent(answered(429)), true},
		"another answer":      {retry.Spent(answered(503)), false},
		"of whom is in front": {fmt.Errorf("%w", busy{}), true},
		"none":                {nil, false},
	} {
		if got := isBusy(test.err); got != test.busy {
			t.Errorf("%s: %v is of one who is busy: %t", name, test.err, got)
		}
	}
}

type answered int

func (answered) Error() string                  { return "an answer" }
func (a answered) Answer() (int, time.Duration) { return int(a), 0 }

type busy struct{}

func (busy) Error() string { return "busy" }
func (busy) Busy() bool    { return true }

// TestIsDenied: which errors of a wrapped resolver, containerd's own included, say that another repository may be asked.
func TestIsDenied(t *testing.T) {
	t.Parallel()
	status := func(code int) error { return remoteerrors.ErrUnexpectedStatus{StatusCode: code} }
	for name, test := range map[string]struct {
		err    error
		denied bool
	}{
		"denied":                       {&auth.DeniedError{}, true},
		"credential refused":           {&auth.DeniedError{Refused: true}, false},
		"401":                          {fmt.Errorf("fetch: %w", status(401)), true},
		"403":                          {errors.Join(status(403), nil), true},
		"404":                          {status(404), false},
		"429":                          {status(429), false},
		"docker's token":               {docker.ErrInvalidAuthorization, true},
		"docker's token, wrapped":      {fmt.Errorf("server message: denied: %w", docker.ErrInvalidAuthorization), true},
		"docker's token, when closing": {errors.Join(fmt.Errorf("read: %w", docker.ErrInvalidAuthorization), io.ErrClosedPipe), true},
		"a field of another kind":      {withField{StatusCode: "403"}, false},
		"docker's words":               {errors.New("server message: authorization failed"), false},
		"none":                         {nil, false},
	} {
		if got := isDenied(test.err); got != test.denied {
			t.Errorf("%s: %v is a denial: %t", name, test.err, got)
		}
	}
}
