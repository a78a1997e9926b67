package nested

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/remotes/auth"
)

type withField struct{ StatusCode string }

func (withField) Error() string { return "an error" }

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
