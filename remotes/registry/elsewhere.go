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

// elsewhereTimeout is how long a URL in a manifest has to answer, redirects
// included. It is only a hint: the next URL, and the registry, may have the
// content, and where it cannot be reached at all, as behind a firewall that
// drops packets, a layer must not wait longer.
const elsewhereTimeout = 10 * time.Second

// elsewhere returns a client whose requests go to a target in place of a
// registry, for content whose descriptor has "urls". It treats them as
// redirected there by the registry, under the policy for redirects; see
// [auth.Registry.Foreign]. It gives up after ten seconds without an answer.
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
		return nil, err // a client would quote the complete URL
	}
	return &http.Response{ // to the first, which the registry does not see
		Status: "307 Temporary Redirect", StatusCode: http.StatusTemporaryRedirect,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Location": {e.target.String()}, "Date": {time.Now().Format(time.RFC3339Nano)}}, Body: http.NoBody, Request: req,
	}, nil
}

// startTime is when the first of a chain of redirected requests was made. The
// answer to it carries the time, because a wrapper of the client keeps only the
// headers of an answer.
func startTime(req *http.Request) time.Time {
	first := req.Response
	for first.Request != nil && first.Request.Response != nil {
		first = first.Request.Response
	}
	if at, err := time.Parse(time.RFC3339Nano, first.Header.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

// inTime sends a request that has to be answered in time. Reading the body may
// take longer.
func inTime(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	timer := time.AfterFunc(elsewhereTimeout-time.Since(startTime(req)), cancel)
	resp, err := send(req.WithContext(ctx))
	late := !timer.Stop()
	if err == nil && !late {
		resp.Body = cancelingBody{resp.Body, cancel}
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

// cancelingBody is a body that cancels a context when it is closed.
type cancelingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b cancelingBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
