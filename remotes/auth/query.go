package auth

import (
	"context"
	"net/http"
)

type queryKey struct{}

// hideQuery removes the query from the URL that a registry redirects to.
// Storage signs its URLs there, and net/http and containerd put the URLs of
// failed requests into errors and logs. [withQuery] restores it for sending.
func hideQuery(req *http.Request) {
	if req.URL.RawQuery == "" {
		return
	}
	hidden := *req.URL
	hidden.RawQuery = ""
	*req = *req.WithContext(context.WithValue(req.Context(), queryKey{}, hiddenQuery{hidden.String(), req.URL.RawQuery}))
	req.URL = &hidden
}

// checkLocation refuses a redirect whose location is not a URL. net/http would
// do so later, and quote the location.
func checkLocation(req *http.Request, resp *http.Response) error {
	location := resp.Header.Get("Location")
	if location == "" || resp.StatusCode/100 != 3 {
		return nil
	}
	to, err := req.URL.Parse(location)
	if err != nil {
		return refuse("%s redirects to something that is not a URL", req.URL.Host)
	}
	return checkTarget(req.URL, to)
}

// hiddenQuery is the query of one URL. A request shares its context with the
// requests that it is redirected to.
type hiddenQuery struct{ url, query string }

// withQuery returns the request with its query restored.
func withQuery(req *http.Request) *http.Request {
	hidden, ok := req.Context().Value(queryKey{}).(hiddenQuery)
	if !ok || req.URL.String() != hidden.url {
		return req
	}
	complete := *req.URL
	complete.RawQuery = hidden.query
	sent := req.WithContext(req.Context())
	sent.URL = &complete
	return sent
}
