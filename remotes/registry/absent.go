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

type lookupKey struct{}

// looking returns the context of resolving a reference.
func looking(ctx context.Context) context.Context {
	return context.WithValue(ctx, lookupKey{}, new(lookup))
}

func lookupOf(ctx context.Context) *lookup {
	l, _ := ctx.Value(lookupKey{}).(*lookup)
	return l
}

var errManifestFirst = errors.New("not looked for among the blobs: whether there is such a manifest is not known")

// manifestFirst is the authorizer of a resolver.
type manifestFirst struct{ *auth.Authorizer }

// Authorize implements docker.Authorizer.
func (a manifestFirst) Authorize(ctx context.Context, req *http.Request) error {
	switch l := lookupOf(ctx); {
	case l == nil:
	case isOfManifest(req):
		l.absent = false
	case !l.absent:
		return errManifestFirst
	}
	return a.Authorizer.Authorize(ctx, req)
}

// noteAbsent takes note of an answer.
func noteAbsent(req *http.Request, resp *http.Response) {
	if l := lookupOf(req.Context()); l != nil && isOfManifest(req) {
		l.absent = resp.StatusCode == http.StatusNotFound
	}
}
