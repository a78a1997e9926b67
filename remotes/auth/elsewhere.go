package auth

import (
	"net/http"
	"net/url"
)

// Elsewhere returns a client that asks a target in place of the registry, for
// content that a manifest says to be there ("urls"). It takes what it is asked
// for for redirected there by the registry. Beyond what holds for redirects, no
// credential, header or certificate of the registry's goes there, even to the
// registry itself, and to no address less public than the registry's own.
func (r *Registry) Elsewhere(target *url.URL) *http.Client {
	return &http.Client{Transport: elsewhere{r.guarded, target}, CheckRedirect: r.CheckRedirect}
}

type elsewhere struct {
	next   *transport
	target *url.URL
}

// RoundTrip implements [http.RoundTripper].
func (e elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response == nil { // the first, which the registry does not see
		resp := &http.Response{
			Status: "307 Temporary Redirect", StatusCode: http.StatusTemporaryRedirect,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Location": {e.target.String()}}, Body: http.NoBody, Request: req,
		}
		if err := checkLocation(req, resp); err != nil {
			return nil, err
		}
		return resp, nil
	}
	if err := e.next.allowHost(req.URL); err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	keepOnly(req.Header, forOthers...)
	over := e.next.to(req.URL)
	if dialAddress(req.URL) == e.next.registry {
		over = e.next.foreign // without the certificate
	}
	return e.next.send(req, over)
}
