package auth

import (
	"context"
	"net/http"
)

type queryKey struct{}

// hideQuery takes the query out of the URL that a registry redirects to. Storage signs its URLs there, and net/http and
// containerd put the URLs of requests that fail into errors and logs. [withQuery] brings it back for the sending.
func hideQuery(req *http.Request) {
	if req.URL.RawQuery == "" {
		return
	}
	hidden := *req.URL
	hidden.RawQuery = ""
	*req = *req.WithContext(context.WithValue(req.Context(), queryKey{}, hiddenQuery{hidden.String(), req.URL.RawQuery}))
	req.URL = &hidden
}

// checkLocation refuses a redirect to where none leads. net/http would do so later, and quote the whole URL.
func checkLocation(req *http.Request, resp *http.Response) error {
	location := resp.Header.Get("Location")
	if location == "" || resp.StatusCode/100 != 3 {
		return nil
	}
	to, err := req.URL.Parse(location)
	if err != nil {
		return refuse("%s redirects to what is no URL", req.URL.Host)
	}
	return checkTarget(req.URL, to)
}

// hiddenQuery is the query of one URL. The context of a request is also that of those it is redirected to.
type hiddenQuery struct{ url, query string }

// withQuery returns the request as it is to be sent.
func withQuery(req *http.Request) *http.Request {
	hidden, ok := req.Context().Value(queryKey{}).(hiddenQuery)
	if !ok || req.URL.String() != hidden.url {
		return req
	}
	whole := *req.URL
	whole.RawQuery = hidden.query
	sent := req.WithContext(req.Context())
	sent.URL = &whole
	return sent
}
