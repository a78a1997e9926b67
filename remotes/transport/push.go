package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// push is a manifest or index that a client pushes.
type push struct {
	*Transport
	finder *find.Finder
	origin *find.Origin
	q      find.Request // of it
	desc   ocispec.Descriptor
	data   []byte
	found  []nested.Place // what an index points to
}

// put passes a manifest on. A nested index is taken for the registry: as it is
// where that supports child namespaces, else in a carrier.
func (t *Transport) put(r *http.Request, q find.Request) (*http.Response, error) {
	f := t.finder(r)
	if r.Body == nil || r.ContentLength > f.Rule().Limits().Manifest {
		return t.base.RoundTrip(r)
	}
	o := t.origin(r, q)
	ctx, end := f.Begin(o)
	resp, err := t.take(ctx, f, o, r, q)
	if err != nil {
		resp, err = f.RefuseTo(ctx, o, err)
	}
	if err != nil {
		end()
		_ = r.Body.Close()
		return nil, err
	}
	return find.Finish(ctx, o, resp, end), nil
}

// take reads what is pushed, and keeps it until there is an answer.
func (t *Transport) take(ctx context.Context, f *find.Finder, o *find.Origin, r *http.Request, q find.Request) (*http.Response, error) {
	data, err := f.ReadPushed(ctx, r)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > f.Rule().Limits().Manifest {
		f.Began(ctx)
		return o.PassOn(ctx, rest{io.MultiReader(bytes.NewReader(data), r.Body), r.Body}, r.ContentLength)
	}
	if err = r.Body.Close(); err != nil {
		return nil, err
	}
	p := &push{t, f, o, q, oci.Describe(registry.MediaType(r.Header.Get("Content-Type")), data, saidDigest(q)), data, nil}
	if !images.IsIndexType(p.desc.MediaType) {
		f.Began(ctx)
		return p.pass(ctx)
	}
	found, isNested, release, err := f.Follow(ctx, nested.PlaceIn(q.Repository(), p.desc), data)
	f.Began(ctx) // each look-up has time of its own
	switch {
	case err != nil:
		return nil, err
	case !isNested:
		release()
		return p.pass(ctx)
	case !p.isAsNamed():
		return nil, &find.Failure{Status: http.StatusBadRequest, Code: "DIGEST_INVALID", Message: "the index has another digest than the request says; push it as it is, or by tag"}
	}
	p.found = found
	return p.publish(ctx)
}

// rest is a body of which the beginning was read.
type rest struct {
	io.Reader
	io.Closer
}

// saidDigest is the digest that a request says of what is pushed; "" when it says
// none.
func saidDigest(q find.Request) digest.Digest {
	if q.Digest() != "" {
		return q.Digest()
	}
	return digest.Digest(q.Query().Get("digest"))
}

// isAsNamed reports whether what is pushed has the digest that the request says.
func (p *push) isAsNamed() bool {
	said := saidDigest(p.q)
	return said == "" || said == p.desc.Digest
}

// passOn passes the request on as it came.
func (p *push) passOn(ctx context.Context) (*http.Response, error) {
	return p.origin.PassOn(ctx, io.NopCloser(bytes.NewReader(p.data)), p.desc.Size)
}

// lacksSomething reports whether a registry may have refused a manifest since it
// lacks what that names. Codes differ: BLOB_UNKNOWN, MANIFEST_BLOB_UNKNOWN,
// MANIFEST_UNKNOWN, and zot's MANIFEST_INVALID for the manifests of an index.
func lacksSomething(resp *http.Response) bool {
	return resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusNotFound
}

// pass passes a manifest or plain index on as it came. Where the registry refuses
// it, what it names is brought, and it is passed on once more.
func (p *push) pass(ctx context.Context) (*http.Response, error) {
	resp, err := p.passOn(ctx)
	if err != nil || !lacksSomething(resp) || !p.isAsNamed() {
		return resp, err
	}
	brought, err := p.bring(ctx)
	if err == nil && !brought {
		return resp, nil
	}
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	return p.passOn(ctx)
}

// publish publishes a nested index (docs/spec.md, sections 8 and 8a).
func (p *push) publish(ctx context.Context) (*http.Response, error) {
	supports, err := p.supports(ctx)
	if err != nil {
		return nil, err
	}
	if supports {
		resp, passed := p.passOn(ctx)
		if passed != nil || !lacksSomething(resp) {
			return resp, passed
		}
		_ = resp.Body.Close() // as it refuses one whose members the caller may not read
	}
	upload, err := p.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	missing, err := p.missing(ctx)
	if err == nil && len(missing) == 0 {
		err = p.carry(ctx, upload)
	} else {
		p.cancel(ctx, upload)
	}
	switch {
	case err != nil:
		return nil, err
	case len(missing) > 0:
		return unknown(missing), nil
	}
	place := nested.CarriedIn(p.q.Repository(), p.desc)
	if err = p.finder.Learn(ctx, p.q.Repository(), place, p.found); err != nil {
		return nil, err
	}
	without, err := p.protect(ctx)
	if err != nil {
		return nil, err
	}
	header := http.Header{
		"Location":              {p.q.Path(find.Manifests, p.desc.Digest.String())},
		"Docker-Content-Digest": {p.desc.Digest.String()},
	}
	if without > 0 {
		header.Set("Warning", fmt.Sprintf(`299 - "%d members have no tag, as you may not push to their repositories: the registry's clean-up may delete them"`, without))
	}
	return answers.With(http.StatusCreated, header, nil), nil
}

// supports reports whether the registry says that it keeps nested indexes. What
// it says is kept for a while.
func (p *push) supports(ctx context.Context) (bool, error) {
	host := p.q.Repository().Host()
	if p.before != nil {
		return p.before.KeepsReferences(ctx, p.q.Repository())
	}
	if said, known := p.supporting.Get(host); known {
		return said, nil
	}
	resp, err := p.origin.Send(ctx, http.MethodGet, &url.URL{Path: registry.StatementPath}, nil, nil, 0)
	if err != nil {
		return false, err
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotFound {
		return false, resp.Body.Close() // it has not said so
	}
	said, err := registry.ReadStatement(resp)
	if err == nil {
		p.supporting.Put(host, said, statementTime)
	}
	return said, err
}

// statementTime is for how long a registry's statement is believed.
const statementTime = 10 * time.Minute

// carry puts the index into its upload, and its carrier under the reference.
func (p *push) carry(ctx context.Context, upload *url.URL) error {
	carrier, data, err := nested.NewCarrier(p.desc, p.data)
	if err != nil {
		return err
	}
	if err = p.finishUpload(ctx, upload, p.desc.Digest, bytes.NewReader(p.data), p.desc.Size); err != nil {
		return err
	}
	if upload, err = p.begin(ctx, nil); err != nil {
		return err
	}
	config := ocispec.DescriptorEmptyJSON
	if err = p.finishUpload(ctx, upload, config.Digest, bytes.NewReader(config.Data), config.Size); err != nil {
		return err
	}
	reference := p.q.Tag()
	if reference == "" {
		reference = carrier.Digest.String()
	}
	return p.putManifest(ctx, reference, carrier.MediaType, data)
}
