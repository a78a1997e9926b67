package transport

import (
	"net/http"
	"net/url"

	"github.com/nestedoci/nested/remotes/transport/find"
)

// delete passes a deletion on. An index that the registry does not know, since
// a carrier carries it, goes with that.
func (t *Transport) delete(r *http.Request, q find.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil || q.Digest() == "" || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	f, o := t.finder(r), find.NewOrigin(r, q, t.base)
	carrier, ok := f.TakeCarrier(r.Context(), q)
	if !ok {
		return resp, nil
	}
	if err = resp.Body.Close(); err != nil {
		return nil, err
	}
	ctx := r.Context()
	resp, err = o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Manifests, carrier.Digest.String())}, nil, nil, 0)
	if err != nil || resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	if err = resp.Body.Close(); err != nil {
		return nil, err
	}
	return o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Blobs, q.Digest().String())}, nil, nil, 0)
}
