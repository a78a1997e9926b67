package find

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// attempt asks one repository for the content of a request, as a place says.
type attempt func(p nested.Place, from auth.Repository) error

// tryPlaces tries the places where the content of a request may be, in order:
// those in the location cache, the repository itself, those that a search finds.
// There is no search when the repository's own indexes say where the content is,
// because it would find the same. Places that others claim prove nothing. The
// error is that of the first place.
func (f *Finder) tryPlaces(ctx context.Context, q Request, try attempt) error {
	places, err := f.tryKnown(ctx, q, try)
	switch {
	case err == nil, ctx.Err() != nil, places.Known(q.repository), retry.IsBusy(err), q.known:
		return err
	case len(places) == 0 && !errdefs.IsNotFound(err):
		return err
	}
	if q.kind == Manifests {
		if carried, ok := f.findCarried(ctx, q); ok {
			return try(carried, q.repository)
		}
	}
	return f.search(ctx, q, err, places, try)
}

// tryKnown tries the places in the location cache, and the repository itself. With
// [Options].PerCaller the cache is only for callers that may read the repository.
// Others get the registry's own answer, in a time that does not depend on the
// cache. Content that the repository has, whatever others claim, is remembered.
func (f *Finder) tryKnown(ctx context.Context, q Request, try attempt) (nested.Places, error) {
	plainly := nested.Places{plain(q.repository, q.digest)}
	var missing error
	if f.options.PerCaller && !f.rights.granted(q) {
		if missing = try(plainly[0], q.repository); missing == nil {
			f.rights.grant(q)
		}
		if !errdefs.IsNotFound(missing) {
			return nil, missing
		}
		if may, err := f.prove(ctx, q); err != nil {
			return nil, err
		} else if !may {
			return nil, missing
		}
		plainly = nil
	}
	places := f.locations.Places(q.repository, q.digest)
	if len(places) == 0 && plainly == nil {
		return nil, missing
	}
	p, _, err := places.Try(ctx, q.repository, plainly, try)
	if err == nil && len(places) > 0 && !p.Strict() && p.By() == q.repository {
		_ = f.locations.Learn(ctx, q.repository, plain(q.repository, q.digest)) // an error only costs time
	}
	return places, err
}

// home is the place of content, where its referrers are, too (docs/spec.md,
// section 4). If the repository's own indexes do not name the content, the
// repositories that may have it are asked, the repository itself first: a claim of
// another one alone must not hide referrers.
func (f *Finder) home(ctx context.Context, q Request, d digest.Digest) (nested.Place, error) {
	here := plain(q.repository, d)
	if f.options.PerCaller && !f.rights.granted(q) {
		if may, err := f.prove(ctx, q); !may || err != nil {
			return here, err
		}
	}
	places := f.locations.Places(q.repository, d)
	if len(places) == 0 {
		return here, nil
	}
	if places.Known(q.repository) {
		return places[0], nil
	}
	at := here
	has := func(p nested.Place, from auth.Repository) error {
		err := f.Has(ctx, from, p)
		if err == nil {
			at = plain(from, d)
		}
		return err
	}
	if has(here, q.repository) == nil {
		return here, f.locations.Learn(ctx, q.repository, here)
	}
	_, _, err := places.Try(ctx, q.repository, nil, has)
	if err != nil && ctx.Err() == nil {
		q.tag, q.digest = "", d
		err = f.search(ctx, q, err, places, has)
	}
	if errdefs.IsNotFound(err) {
		return here, nil
	}
	return at, err
}

// maxProofs is how many indexes are requested to find out whether a caller may
// read a repository. Older ones may be gone.
const maxProofs = 3

// prove reports whether a caller may read a repository: whether the registry shows
// it an index that is there. If none is known, digests that do not exist are
// requested instead, so that the time says nothing.
func (f *Finder) prove(ctx context.Context, q Request) (bool, error) {
	roots := f.locations.Roots(q.repository, maxProofs)
	for i := range maxProofs {
		p := plain(q.repository, digest.FromString(fmt.Sprint(q.repository, i))).As(ocispec.MediaTypeImageIndex, 0)
		if i < len(roots) {
			p = roots[i]
		} else {
			f.locations.Place(q.repository, p.Descriptor().Digest) // takes as long as a look-up of a root
		}
		err := f.Has(ctx, q.repository, p)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err == nil {
			f.rights.grant(q)
		}
		return err == nil, err
	}
	return false, nil
}

// Has asks a repository for the headers of a manifest, index or blob, in all the
// ways in which it may have it.
func (f *Finder) Has(ctx context.Context, in auth.Repository, p nested.Place) (err error) {
	for i, kind := range kindsOf(p) {
		if i > 0 && !errdefs.IsNotFound(err) {
			break
		}
		err = f.has(ctx, in, p, kind)
	}
	return err
}

func (f *Finder) has(ctx context.Context, in auth.Repository, p nested.Place, kind Kind) error {
	desc := p.Descriptor()
	ask := query{method: http.MethodHead, kind: kind, reference: desc.Digest.String(), accept: registry.Accept(desc.MediaType)}
	resp, err := f.upstream.do(ctx, in, ask)
	if registry.IsRefusedHead(err) {
		ask.method = http.MethodGet
		resp, err = f.upstream.do(ctx, in, ask)
	}
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

// kindsOf are the ways in which a registry may have content, the first to ask for
// first (docs/spec.md, sections 4 and 8).
func kindsOf(p nested.Place) []Kind {
	types := p.MediaTypes()
	switch {
	case len(types) > 1 && oci.IsManifestOrIndex(types[0]):
		return []Kind{Manifests, Blobs}
	case len(types) > 1:
		return []Kind{Blobs, Manifests}
	case isBlob(p):
		return []Kind{Blobs}
	}
	return []Kind{Manifests}
}

// rightsTime is how long a caller is assumed to keep a right.
const rightsTime = time.Minute

// tenant is a caller in a repository. What is kept for one tenant, or taken by
// it, is kept apart from that of others. It holds a secret.
type tenant struct {
	repository auth.Repository
	caller     callers.Caller
}

// bytes is about what it takes to keep something for a tenant.
func (t tenant) bytes() int64 { return 1<<10 + int64(len(t.caller.Username)+len(t.caller.Password)) }

// rights remembers which callers may read which repositories, and when the
// registry showed it last.
type rights struct{ shown flight.Map[tenant, time.Time] }

func (r *rights) grant(q Request) { r.shown.Put(q.tenant(), time.Now(), rightsTime) }

func (r *rights) granted(q Request) bool {
	_, ok := r.shown.Get(q.tenant())
	return ok
}
