package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/nestedoci/nested/remotes/auth"
)

// lookup is the resolving of one reference. Docker's resolver looks for a
// digest under /manifests/, and when that fails, in whatever way, under /blobs/:
// a registry whose manifests are out of order for a moment, or whose token
// endpoint is, would have a blob taken for an image. It is let there only when
// the last host that was asked, the registry itself, has no such manifest.
type lookup struct{ absent bool }

// at returns a host as it is asked by the lookup.
func (l *lookup) at(h Host) Host {
	h = h.through(l.listen)
	h.RegistryHost.Authorizer = manifestFirst{h.Authorizer, l}
	return h
}

var errManifestFirst = errors.New("not looked for among the blobs: whether there is such a manifest is not known")

// manifestFirst is the authorizer of a lookup.
type manifestFirst struct {
	*auth.Authorizer
	lookup *lookup
}

// Authorize implements docker.Authorizer.
func (a manifestFirst) Authorize(ctx context.Context, req *http.Request) error {
	switch {
	case isOfManifest(req):
		a.lookup.absent = false
	case !a.lookup.absent:
		return errManifestFirst
	}
	return a.Authorizer.Authorize(ctx, req)
}

// listen takes note of what is answered in the end.
func (l *lookup) listen(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(req)
	if err == nil && isOfManifest(req) {
		l.absent = resp.StatusCode == http.StatusNotFound
	}
	return resp, err
}
