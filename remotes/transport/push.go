package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// push is a nested index that a client pushes (docs/spec.md, sections 8 and 8a).
type push struct {
	*Transport
	finder *find.Finder
	origin *find.Origin
	q      find.Request // of the index
	desc   ocispec.Descriptor
	data   []byte
	found  []nested.Place // what it points to
}

// put passes a manifest on. A nested index is taken for the registry: as it is
// where that supports child namespaces, else in a carrier.
func (t *Transport) put(r *http.Request, q find.Request) (*http.Response, error) {
	f, mediaType := t.finder(r), registry.MediaType(r.Header.Get("Content-Type"))
	most := f.Rule().Limits().Manifest
	if !images.IsIndexType(mediaType) || r.Body == nil || r.ContentLength > most {
		return t.base.RoundTrip(r)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, errors.Join(err, r.Body.Close())
	}
	o := find.NewOrigin(r, q, t.base)
	if int64(len(data)) > most {
		return o.PassOn(io.MultiReader(bytes.NewReader(data), r.Body), r.Body, r.ContentLength)
	}
	if err = r.Body.Close(); err != nil {
		return nil, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if q.Digest() != "" && q.Digest().Algorithm().FromBytes(data) == q.Digest() {
		desc.Digest = q.Digest()
	}
	ctx, end := f.Begin(o)
	defer end()
	found, isNested, err := f.Rule().Follow(nested.PlaceIn(q.Repository(), desc), data, q.Repository())
	switch {
	case err == nil && !isNested, q.Digest() != "" && q.Digest() != desc.Digest:
		return o.PassOn(bytes.NewReader(data), http.NoBody, desc.Size)
	case err == nil:
		p := &push{t, f, o, q, desc, data, found}
		var resp *http.Response
		if resp, err = p.publish(ctx); err == nil {
			return find.Complete(r, resp), nil
		}
	}
	return f.RefuseTo(ctx, o, err)
}

// publish publishes the index.
func (p *push) publish(ctx context.Context) (*http.Response, error) {
	supports, err := p.supports(ctx)
	if err != nil {
		return nil, err
	}
	if supports {
		resp, passed := p.origin.PassOn(bytes.NewReader(p.data), http.NoBody, p.desc.Size)
		if passed != nil || resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
			return resp, passed
		}
		_ = resp.Body.Close() // as it refuses one whose members the caller may not read
	}
	upload, err := p.begin(ctx)
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
	return find.AnswerWith(http.StatusCreated, http.Header{
		"Location":              {p.q.Path(find.Manifests, p.desc.Digest.String())},
		"Docker-Content-Digest": {p.desc.Digest.String()},
	}, nil), nil
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
	resp, err := p.origin.Send(ctx, http.MethodGet, &url.URL{Path: registry.StatementPath}, nil, nil)
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

// begin begins the upload of the index as a blob. Whoever may not do that hears
// so before members are looked at.
func (p *push) begin(ctx context.Context) (*url.URL, error) {
	resp, err := p.origin.Send(ctx, http.MethodPost, &url.URL{Path: p.q.Path(find.Blobs, "uploads/")}, nil, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusAccepted {
		return nil, find.Came(resp)
	}
	if err = resp.Body.Close(); err != nil {
		return nil, err
	}
	upload, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("registry %s began an upload without a place for it: %w", p.q.Repository().Host(), err)
	}
	return upload, nil
}

// cancel ends an upload that is not gone on with. Registries forget them, too.
func (p *push) cancel(ctx context.Context, upload *url.URL) {
	if resp, err := p.origin.Send(ctx, http.MethodDelete, upload, nil, nil); err == nil {
		_ = resp.Body.Close()
	}
}

// lookups bounds the members that are looked for at a time.
const lookups = 8

// missing returns what the index names and neither its repository nor the
// parent shows. What may not be pulled is not there either: nobody is to learn
// from a push what there is.
func (p *push) missing(ctx context.Context) ([]nested.Place, error) {
	var mu sync.Mutex
	var missing []nested.Place
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, place := range p.found {
		group.Go(func() error {
			_, err := place.Try(p.q.Repository(), func(at auth.Repository) error { return p.finder.Has(ctx, at, place) })
			if errdefs.IsNotFound(err) || errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, place)
				return nil
			}
			return err
		})
	}
	err := group.Wait()
	slices.SortFunc(missing, func(a, b nested.Place) int {
		return strings.Compare(a.First().String()+string(a.Descriptor().Digest), b.First().String()+string(b.Descriptor().Digest))
	})
	return missing, err
}

// unknown is the answer to a push of an index whose members are missing.
func unknown(missing []nested.Place) *http.Response {
	type complaint struct {
		Code    string            `json:"code"`
		Message string            `json:"message"`
		Detail  map[string]string `json:"detail"`
	}
	var errs []complaint
	for _, m := range missing {
		d, at := m.Descriptor().Digest.String(), m.First().String()
		errs = append(errs, complaint{"MANIFEST_BLOB_UNKNOWN", "member " + at + "@" + d + " is not there; push it first", map[string]string{"repository": at, "digest": d}})
	}
	data, _ := json.Marshal(map[string]any{"errors": errs}) // strings encode
	return find.AnswerWith(http.StatusBadRequest, http.Header{"Content-Type": {"application/json"}}, data)
}

// carry puts the index into its upload, and its carrier under the reference.
func (p *push) carry(ctx context.Context, upload *url.URL) error {
	carrier, data, err := nested.NewCarrier(p.desc, p.data)
	if err != nil {
		return err
	}
	if err = p.finishUpload(ctx, upload, p.desc.Digest, p.data); err != nil {
		return err
	}
	if upload, err = p.begin(ctx); err != nil {
		return err
	}
	config := ocispec.DescriptorEmptyJSON
	if err = p.finishUpload(ctx, upload, config.Digest, config.Data); err != nil {
		return err
	}
	reference := p.q.Tag()
	if reference == "" {
		reference = carrier.Digest.String()
	}
	return p.created(p.origin.Send(ctx, http.MethodPut, &url.URL{Path: p.q.Path(find.Manifests, reference)}, http.Header{"Content-Type": {carrier.MediaType}}, data))
}

func (p *push) finishUpload(ctx context.Context, upload *url.URL, d digest.Digest, data []byte) error {
	query := upload.Query()
	query.Set("digest", d.String())
	end := *upload
	end.RawQuery = query.Encode()
	return p.created(p.origin.Send(ctx, http.MethodPut, &end, http.Header{"Content-Type": {"application/octet-stream"}}, data))
}

// created takes an answer that has to be 201. Another one is the client's.
func (p *push) created(resp *http.Response, err error) error {
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusCreated:
		return find.Came(resp)
	}
	return resp.Body.Close()
}

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
	resp, err = o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Manifests, carrier.Digest.String())}, nil, nil)
	if err != nil || resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	if err = resp.Body.Close(); err != nil {
		return nil, err
	}
	return o.Send(ctx, http.MethodDelete, &url.URL{Path: q.Path(find.Blobs, q.Digest().String())}, nil, nil)
}
