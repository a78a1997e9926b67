package auth

import "net/http"

// Foreign returns the transport for hosts that are neither the registry nor known
// to it, such as those that manifests name. Beyond what holds for redirects, no
// credential, header or certificate of the registry's goes there, even to the
// registry itself, and to no address less public than the registry's own.
func (r *Registry) Foreign() http.RoundTripper { return foreign{r.guarded} }

type foreign struct{ next *transport }

// RoundTrip implements [http.RoundTripper].
func (f foreign) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := f.next.allowHost(req.URL); err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	keepOnly(req.Header, forOthers...)
	over := f.next.to(req.URL)
	if dialAddress(req.URL) == f.next.registry {
		over = f.next.foreign // without the certificate
	}
	return f.next.send(req, over)
}
