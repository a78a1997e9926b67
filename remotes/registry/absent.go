package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/nestedoci/nested/remotes/auth"
)

// lookup is the resolving of one reference. Docker's resolver looks for a
// digest under /manifests/, and when that fails, for whatever reason, under
// /blobs/. While a registry's manifests or its token endpoint are failing it
// would take a blob for an image. It may look under /blobs/ only when the last
// host, the registry itself, has no such manifest.
type lookup struct{ absent bool }

// at returns a host whose answers the lookup observes.
func (l *lookup) at(h Host) Host {
	h = h.through(l.observe)
	h.RegistryHost.Authorizer = manifestFirst{h.Authorizer, l}
	return h
}

var errManifestFirst = errors.New("blobs are not searched: whether there is such a manifest is not known")

// manifestFirst is the authorizer of a lookup. It refuses to look for blobs too
// early.
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

// observe notes whether the final answer was a 404.
func (l *lookup) observe(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(req)
	if err == nil && isOfManifest(req) {
		l.absent = resp.StatusCode == http.StatusNotFound
	}
	return resp, err
}
