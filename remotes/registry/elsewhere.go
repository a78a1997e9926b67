package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
)

// elsewhereTimeout is how long a place that a manifest names has to answer,
// redirects included. It is a hint: the next one, and the registry, may have the
// content, and where they cannot be reached at all, as behind a firewall that
// drops what is sent, a layer is not to wait for longer.
const elsewhereTimeout = 10 * time.Second

// elsewhere returns a client that asks a target in place of a registry, for
// content that a manifest says to be there ("urls"). It takes what it is asked
// for for redirected there by the registry, by the policy for that; see
// [auth.Registry.Foreign]. What has not answered in ten seconds is given up.
func elsewhere(registry *auth.Registry, target *url.URL) *http.Client {
	return &http.Client{Transport: redirecting{registry, target}, CheckRedirect: registry.CheckRedirect}
}

type redirecting struct {
	registry *auth.Registry
	target   *url.URL
}

// RoundTrip implements [http.RoundTripper].
func (e redirecting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response != nil {
		return inTime(req, e.registry.Foreign().RoundTrip)
	}
	to := &http.Request{Method: req.Method, URL: e.target, Header: http.Header{}}
	if err := e.registry.CheckRedirect(to, []*http.Request{req}); err != nil {
		return nil, err // a client would quote the whole URL
	}
	return &http.Response{ // to the first, which the registry does not see
		Status: "307 Temporary Redirect", StatusCode: http.StatusTemporaryRedirect,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Location": {e.target.String()}, "Date": {time.Now().Format(time.RFC3339Nano)}}, Body: http.NoBody, Request: req,
	}, nil
}

// begin is when the first of the requests was made that led to one. The answer to
// it says so: of an answer's parts whoever wraps the client leaves the headers.
func begin(req *http.Request) time.Time {
	first := req.Response
	for first.Request != nil && first.Request.Response != nil {
		first = first.Request.Response
	}
	if at, err := time.Parse(time.RFC3339Nano, first.Header.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

// inTime sends a request that has to be answered in time. The body of the answer
// may take longer.
func inTime(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	timer := time.AfterFunc(elsewhereTimeout-time.Since(begin(req)), cancel)
	resp, err := send(req.WithContext(ctx))
	late := !timer.Stop()
	if err == nil && !late {
		resp.Body = ended{resp.Body, cancel}
		return resp, nil
	}
	cancel()
	if err == nil {
		err = resp.Body.Close()
	}
	if late && req.Context().Err() == nil {
		return nil, errors.Join(fmt.Errorf("%s has not answered in %s", req.URL.Host, elsewhereTimeout), err)
	}
	return nil, err
}

// ended is a body with which a context ends.
type ended struct {
	io.ReadCloser
	end context.CancelFunc
}

// Close implements [io.Closer].
func (b ended) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
