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

// retried returns the host with a client that makes requests by the one policy
// for that, whoever makes them, [retry.Tries]: where hosts.toml names another host to be
// asked after it, once. Docker's own tries, which ask again at once whatever
// the registry says, do not come to it: they are for answers and errors that
// it is not shown.
func (h Host) retried(last bool) Host { return h.retriedIn(nil, last) }

// retriedIn is retried for requests that are part of a push.
func (h Host) retriedIn(push *pushTries, last bool) Host {
	return h.through(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		return retryTransport{next, push, last}.RoundTrip(req)
	})
}

type retryTransport struct {
	next http.RoundTripper
	push *pushTries // that the requests are part of; nil: of none
	last bool       // of the hosts that are asked
}

// RoundTrip implements [http.RoundTripper].
func (t retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for tries := t.push.of(req); ; {
		resp, err := t.next.RoundTrip(req)
		if err == nil && !retry.RetryableStatus(resp.StatusCode) {
			if req.Method == http.MethodGet {
				resp.Body = &pausingBody{resp.Body, req.Context(), known(req, resp)}
			}
			return resp, nil
		}
		if err == nil {
			err = newAnswer(resp)
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

// isRepeatable reports whether a request may be made again as it is. Most may,
// since the session of an upload that nobody uses ends by itself. Content of an
// upload may have come to the registry in part, and what is sent again be added
// to it, unless the registry has refused to look at it. A mount that fails is an
// upload's to mend, unless the registry wants it to be waited for.
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
		return nil, fmt.Errorf("%s to %s: its content cannot be read twice, so it is not sent again; begin anew", req.Method, req.URL.Host)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

// pushTries are the tries of one push, by method, of which a push that begins
// anew makes no more.
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
		wait, _ := new(retry.Tries).After(err)
		retry.Sleep(b.ctx, wait)
	}
	return n, err
}
