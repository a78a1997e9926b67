package auth

import "net/http"

// Foreign returns the transport for hosts that neither are the registry nor
// known to it, such as those that manifests name. The policy for redirects
// holds. In addition, no credential, header or certificate of the registry's is
// sent, even to the registry itself, and no address less public than the
// registry's own is connected to.
func (r *Registry) Foreign() http.RoundTripper { return foreign{r.guarded} }

type foreign struct{ next *transport }

// RoundTrip implements [http.RoundTripper].
func (f foreign) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := f.next.allowHost(req.URL); err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	keepOnly(req.Header, forOthers...)
	through := f.next.to(req.URL)
	if dialAddress(req.URL) == f.next.registry {
		through = f.next.foreign // without the certificate
	}
	return f.next.send(req, through)
}
