package registry

import (
	"net/http"
)

// renewed asks the registry once more where content is, when the host that it
// redirected to refuses the request. URLs of storage are signed for some
// minutes, and one that was kept on the way may have ended when it is used. The
// answer is the second host's, whatever it is, or the first one's when the
// registry has no other.
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

// redirected returns the request to the registry that has led to one for
// content at another host, which refuses it as storage does when a URL has
// ended: with 403, and some with 400.
func (e *endpoint) redirected(req *http.Request, resp *http.Response) *http.Request {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadRequest ||
		req.Method != http.MethodGet && req.Method != http.MethodHead || e.registry.Owns(req.URL) {
		return nil
	}
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	if first == req || !e.registry.Owns(first.URL) {
		return nil
	}
	return first
}
