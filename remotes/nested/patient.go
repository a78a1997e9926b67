package nested

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
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
// after a 429, whatever the registry says, and after a body that brought
// nothing.
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
		case err == nil && !auth.MayPass(resp.StatusCode):
			resp.Body = &pausingBody{resp.Body, req.Context(), known(req, resp)}
			return resp, nil
		case err != nil && !auth.IsBroken(err):
			return nil, err
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

// known is how many bytes of a body the asker has already.
func known(req *http.Request, resp *http.Response) int64 {
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	start, _, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("Range"), "bytes="), "-")
	n, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// pausingBody is a body whose breaking off is told after a pause when it
// brought nothing that was not known: docker's fetcher asks again at once.
type pausingBody struct {
	io.ReadCloser
	ctx   context.Context
	known int64 // bytes, less those that came
}

// Read implements [io.Reader].
func (b *pausingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.known -= int64(n)
	if b.known >= 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		wait, _ := auth.Pause(0)
		auth.Sleep(b.ctx, wait)
	}
	return n, err
}
