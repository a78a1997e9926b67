package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// delete passes a deletion on. An index that the repository has as a blob goes
// with the manifests that carry it: afterwards its digest is not there.
func (t *Transport) delete(r *http.Request, q find.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil || q.Digest() == "" || !isGone(resp) {
		return resp, err
	}
	f, o := t.finder(r), t.origin(r, q)
	carriers, err := f.Carriers(o)
	defer f.Forget(q, append(carriers, q.Digest())...)
	if registry.IsRefusal(err) {
		return resp, nil // it is no such index, as far as this client can see
	}
	if err = errors.Join(err, resp.Body.Close()); err == nil {
		resp, err = deleteCarried(r.Context(), o, q, carriers)
	}
	if err != nil {
		return f.RefuseTo(r.Context(), o, err)
	}
	return answers.Complete(r, resp), nil
}

// isGone reports whether something is not there any more.
func isGone(resp *http.Response) bool {
	return resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotFound
}

// deleteCarried deletes the carriers of an index, and then the index. What the
// registry says against it is the answer.
func deleteCarried(ctx context.Context, o *find.Origin, q find.Request, carriers []digest.Digest) (*http.Response, error) {
	for _, d := range carriers {
		resp, err := o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Manifests, d.String())}, nil, nil, 0)
		if err != nil || !isGone(resp) {
			return resp, err
		}
		if err = resp.Body.Close(); err != nil {
			return nil, err
		}
	}
	resp, err := o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Blobs, q.Digest().String())}, nil, nil, 0)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	return answers.With(http.StatusAccepted, http.Header{}, nil), resp.Body.Close() // it went with what named it
}
