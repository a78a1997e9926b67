package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nestedoci/nested/internal/retry"
)

// retried returns the host with a client that retries by the one policy,
// [retry.Tries]; where hosts.toml names another host to try after this one, it
// makes one request only. Docker's own retries, which are immediate whatever
// the registry says, never happen: docker does not see the answers and errors
// that cause them.
func (h Host) retried(last bool) Host { return h.retriedIn(nil, last) }

// retriedIn is retried for requests that are part of a push.
func (h Host) retriedIn(push *pushTries, last bool) Host {
	return h.through(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return retryTransport{next, push, last}.RoundTrip(req)
	})
}

type retryTransport struct {
	next http.RoundTripper
	push *pushTries // the push that the requests are part of; nil: none
	last bool       // of the hosts that are tried
}

// RoundTrip implements [http.RoundTripper].
func (t retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for tries := t.push.of(req); ; {
		resp, err := t.next.RoundTrip(req)
		if err == nil && !retry.RetryableStatus(resp.StatusCode) {
			if req.Method == http.MethodGet {
				resp.Body = &pausingBody{resp.Body, req.Context(), bytesRead(req, resp)}
			}
			return resp, nil
		}
		if err == nil {
			err = ReadStatusError(resp)
			_ = resp.Body.Close()
		}
		if !t.last {
			return nil, err
		}
		if !isRepeatable(req, err) {
			return nil, retry.Unrepeated(err)
		}
		if err = tries.Wait(req.Context(), err); err != nil {
			return nil, err
		}
		if req, err = rewound(req); err != nil {
			return nil, err
		}
	}
}

// isRepeatable reports whether a request may be repeated as it is. Most may: an
// upload session that is not used ends by itself. The content of an upload may
// have reached the registry in part, and repeating it would append to that,
// unless the registry has refused it unread. A mount that fails becomes an
// upload, unless the registry answered with Retry-After.
func isRepeatable(req *http.Request, err error) bool {
	var answered retry.Answered
	isAnswer := errors.As(err, &answered)
	status, wait := 0, time.Duration(0)
	if isAnswer {
		status, wait = answered.Answer()
	}
	switch busy := status == http.StatusTooManyRequests; {
	case isUpload(req):
		return busy
	case isMount(req):
		return busy || !isAnswer || wait > 0
	}
	return true
}

func isMount(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL.Query().Has("mount")
}

// isUpload reports whether a request sends a blob.
func isUpload(req *http.Request) bool {
	return (req.Method == http.MethodPut || req.Method == http.MethodPatch) && !isOfManifest(req)
}

// rewound returns the request with its body from the beginning.
func rewound(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, fmt.Errorf("%s to %s: its content cannot be read twice, so it is not sent again; start the push again", req.Method, req.URL.Host)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

// pushTries are the tries of one push, by method. A push that begins anew gets
// no more.
type pushTries struct{ post, put retry.Tries }

// of returns the tries of a request, which are its own outside a push.
func (t *pushTries) of(req *http.Request) *retry.Tries {
	switch {
	case t != nil && req.Method == http.MethodPost:
		return &t.post
	case t != nil && isUpload(req):
		return &t.put
	}
	return new(retry.Tries)
}

// bytesRead is how many bytes of a body the caller has already.
func bytesRead(req *http.Request, resp *http.Response) int64 {
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

// pausingBody is a body that pauses before it reports that it broke off without
// new bytes: docker's fetcher retries at once.
type pausingBody struct {
	io.ReadCloser
	ctx    context.Context
	before int64 // bytes that the caller had before, less those that arrived
}

// Read implements [io.Reader].
func (b *pausingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.before -= int64(n)
	if b.before >= 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		wait, _ := new(retry.Tries).After(err)
		retry.Sleep(b.ctx, wait)
	}
	return n, err
}
