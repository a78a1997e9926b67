package find

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Part begins a part of a request that holds memory: with time of its own, and
// without waiting for memory, which the request itself may be holding. What it
// takes is given back when end is called.
func (f *Finder) Part(ctx context.Context, q Request) (part context.Context, end func()) {
	part, end = withBudget(ctx, q.tenant(), f.options.Timeout)
	budgetOf(part).holds = true
	return part, end
}

// Began says that what takes long has begun, such as sending: from then on the
// time for an answer does not count.
func (f *Finder) Began(ctx context.Context) { budgetOf(ctx).begun() }

// ReadPushed reads a manifest or index that is pushed, up to one byte more than it
// may have, into memory that is given back when the request ends.
func (f *Finder) ReadPushed(ctx context.Context, r *http.Request) ([]byte, error) {
	most := f.rule.Limits().Manifest
	if _, err := take(ctx, f.memory.content, expected(r.ContentLength, most)+1); err != nil {
		return nil, err
	}
	data, err := readSized(r.Body, r.ContentLength, most)
	if err == nil && r.ContentLength >= 0 && int64(len(data)) != r.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, &registry.CameError{Err: fmt.Errorf("what is pushed broke off: %w", err)}
	}
	return data, nil
}

// Follow is [nested.Rule.Follow] for what is pushed to the repository of a place.
// release gives the memory back that it decodes to; at the latest the request's
// end does.
func (f *Finder) Follow(ctx context.Context, p nested.Place, data []byte) (found []nested.Place, isNested bool, release func(), err error) {
	decoded, err := take(ctx, f.memory.decoded, decodedFactor*int64(len(data)))
	if err != nil {
		return nil, false, func() {}, err
	}
	found, isNested, err = f.rule.Follow(p, data, p.First())
	return found, isNested, decoded.Release, err
}

// Lacks reports whether what an index that is pushed names is missing: whether no
// candidate shows it (docs/spec.md, section 8a). What may not be pulled is
// missing, too, and nobody is to learn from a push what there is: after a denial
// the parent is asked as after an absence, although a copy there then counts for
// nothing.
func (f *Finder) Lacks(ctx context.Context, q Request, p nested.Place) (bool, error) {
	ctx, end := f.Part(ctx, q)
	defer end()
	places, denied, came := p.Fields(), false, new(registry.CameError)
	for i, at := range slices.Concat(places.Targets, places.Fallbacks) {
		err := f.Has(ctx, at, p)
		switch {
		case err == nil && (!denied || i < len(places.Targets)):
			return false, nil
		case err == nil, errdefs.IsNotFound(err):
		case !registry.IsRefusal(err), errors.As(err, &came) && came.IsChallenge():
			return false, err
		default:
			denied = true
		}
	}
	return true, nil
}

// named is the request for what a manifest or index names that the request is
// about.
func (q Request) named(k Kind, d digest.Digest) Request {
	return Request{kind: k, name: q.name, repository: q.repository, caller: q.caller, digest: d, here: true}
}

// Located is a blob that may be read, and the repository that has it.
type Located struct {
	At    auth.Repository
	place nested.Place
	q     Request
}

// Locate finds a blob of the request's repository as for a client that asks for
// it: in that itself, or in a member.
func (f *Finder) Locate(ctx context.Context, q Request, d digest.Digest) (l Located, err error) {
	q = q.named(Blobs, d)
	l.q, q.head = q, true
	err = f.tryPlaces(ctx, q, func(p nested.Place, from auth.Repository) error {
		resp, failed := f.requestBlob(ctx, q, p, from)
		if failed != nil {
			return failed
		}
		l.place, l.At = p, from
		return resp.Body.Close()
	})
	return l, err
}

// Open opens a blob where it is. It is for the caller to verify, and to close.
func (f *Finder) Open(ctx context.Context, l Located) (*http.Response, error) {
	return f.requestBlob(ctx, l.q, l.place, l.At)
}

// ReadNamed reads a manifest or index that one of the request's repository names,
// as for a client that asks for it. It has the digest and the size of its
// descriptor, or is not found. Its memory is given back when the part of the
// request ends.
func (f *Finder) ReadNamed(ctx context.Context, q Request, d ocispec.Descriptor) ([]byte, error) {
	c, err := f.byDigest(ctx, q.named(Manifests, d.Digest))
	if err != nil {
		return nil, err
	}
	c.decodedMemory.Release()
	if !c.verified(d.Digest) || c.size != d.Size {
		return nil, errors.Join(&nested.VerifyError{Repository: c.served, Digest: d.Digest, Reason: "it is not what its descriptor says"}, errdefs.ErrNotFound, c.close())
	}
	return c.data, nil
}
