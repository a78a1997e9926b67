package registry

import (
	"net/http"
)

// renewed asks the registry again for the location of content when the host
// that it redirected to refuses the request. Storage signs URLs for some
// minutes, and a cached one may have expired. The result is the second host's
// answer, or the first one's when the registry has no other location.
func (e *endpoint) renewed(req *http.Request, refused *http.Response) (*http.Response, error) {
	first := e.redirected(req, refused)
	if first == nil {
		return refused, nil
	}
	first = first.Clone(req.Context())
	fresh, err := e.next.RoundTrip(first)
	if err != nil {
		return refused, nil //nolint:nilerr // that it is refused says more
	}
	e.count(first, fresh)
	to, err := fresh.Location()
	if closeErr := fresh.Body.Close(); err != nil || closeErr != nil || fresh.StatusCode/100 != 3 {
		return refused, nil //nolint:nilerr // as above
	}
	next := req.Clone(req.Context())
	next.URL, next.Host, next.Response = to, "", fresh
	if err := e.registry.CheckRedirect(next, []*http.Request{first}); err != nil {
		return refused, nil //nolint:nilerr // as above
	}
	if err := refused.Body.Close(); err != nil {
		return nil, err
	}
	return e.next.RoundTrip(next)
}

// redirected returns the request to the registry that led to this one for
// content at another host, if that refuses it as storage does when a URL has
// expired: with 403, or sometimes 400.
func (e *endpoint) redirected(req *http.Request, resp *http.Response) *http.Request {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest ||
		req.Method != http.MethodGet && req.Method != http.MethodHead || e.registry.Owns(req.URL) {
		return nil
	}
	first := firstRequest(req)
	if first == req || !e.registry.Owns(first.URL) {
		return nil
	}
	return first
}
