package nested

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/remotes/auth"
)

// maxPatience bounds the pauses of one request, also where a registry asks for
// longer ones.
const maxPatience = time.Minute

// patient lets docker's resolver ask a host again whose failure may pass. By
// itself that gives up when a connection is reset, and asks again at once
// after a 429, whatever the registry says.
func patient(h docker.RegistryHost) docker.RegistryHost {
	client := *h.Client
	client.Transport = patientTransport{client.Transport}
	h.Client = &client
	return h
}

type patientTransport struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t patientTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return t.next.RoundTrip(req)
	}
	left := maxPatience
	for attempt := 0; ; attempt++ {
		resp, err := t.next.RoundTrip(req)
		wait, more := auth.Pause(attempt)
		switch {
		case err != nil && !auth.IsBroken(err), err == nil && !auth.MayPass(resp.StatusCode):
			return resp, err
		case err == nil:
			asked := auth.RetryAfter(resp)
			err = newAnswer(resp, asked)
			wait = max(wait, asked)
		}
		if left -= wait; !more || left < 0 {
			return nil, err
		}
		if !auth.Sleep(req.Context(), wait) {
			return nil, context.Cause(req.Context())
		}
	}
}

// newAnswer makes an error of an answer, whose body it closes.
func newAnswer(resp *http.Response, wait time.Duration) error {
	defer resp.Body.Close()
	var status remoteerrors.ErrUnexpectedStatus
	if err := remoteerrors.NewUnexpectedStatusErr(resp); !errors.As(err, &status) {
		return err
	}
	return answer{status, wait}
}
