package find

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

// findBlob finds a blob at the first candidate that has it. It is passed on as it
// arrives, and verified by the client.
func (f *Finder) findBlob(ctx context.Context, q Request) (resp *http.Response, err error) {
	err = f.tryPlaces(ctx, q, func(p nested.Place, from auth.Repository) (err error) {
		resp, err = f.openBlob(ctx, q, p, from) //nolint:bodyclose // the caller closes it
		return err
	})
	if err != nil {
		return nil, err
	}
	if !isOwn(resp) {
		resp.Header = passable(q, resp)
	}
	return resp, nil
}

// openBlob requests a blob from one candidate.
func (f *Finder) openBlob(ctx context.Context, q Request, p nested.Place, from auth.Repository) (*http.Response, error) {
	if d := p.Descriptor(); d.Size > 0 && registry.IsSmall(d) {
		ctx = auth.Small(ctx)
	}
	resp, err := f.requestBlob(ctx, q, p, from)
	if err == nil {
		f.hop(ctx, q, from)
	}
	return resp, err
}

// requestBlob requests a blob. An entry of a nested index that is neither index
// nor manifest may be under /manifests/, too (docs/spec.md, section 4).
func (f *Finder) requestBlob(ctx context.Context, q Request, p nested.Place, from auth.Repository) (*http.Response, error) {
	ask := query{method: http.MethodGet, kind: Blobs, reference: q.digest.String(), accept: "*/*", header: q.header, pass: !q.head && !q.here && !f.options.Follow}
	if q.head {
		ask.method = http.MethodHead
	}
	resp, err := f.exchangeBlob(ctx, from, ask)
	if errdefs.IsNotFound(err) && p.Strict() && p.Entry() {
		ask.kind, ask.accept = Manifests, registry.Accept("")
		return f.exchangeBlob(ctx, from, ask)
	}
	if err == nil && registry.IsForeignPage(resp, q.digest, p.Descriptor().Size) {
		return nil, errors.Join(&registry.AnswerError{Host: resp.Request.URL.Host, Of: from.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), Blob: true}, resp.Body.Close())
	}
	return resp, err
}

// exchangeBlob requests a blob. A HEAD whose answer says too little, or is refused,
// becomes a GET of which only the headers are used.
func (f *Finder) exchangeBlob(ctx context.Context, from auth.Repository, ask query) (*http.Response, error) {
	resp, err := f.upstream.do(ctx, from, ask)
	switch {
	case err == nil && isOwn(resp):
		return resp, nil
	case err == nil && ask.method == http.MethodGet:
		f.resume(ctx, from, ask, resp)
		return resp, nil
	case ask.method != http.MethodHead:
		return resp, err
	case err == nil && resp.ContentLength < 0:
		_ = resp.Body.Close()
	case !registry.IsRefusedHead(err):
		return resp, err
	}
	ask.method = http.MethodGet
	return f.upstream.do(ctx, from, ask)
}

// passed are the headers of a registry's answer that clients get.
var passed = []string{"Content-Type", "Content-Range", "Content-Encoding", "Accept-Ranges", "Etag", "Last-Modified",
	"Docker-Content-Digest", "Docker-Distribution-Api-Version", "Location", "Warning", "Oci-Filters-Applied"}

// passable is the header of a registry's answer as clients get it.
func passable(q Request, resp *http.Response) http.Header {
	header := answers.Kept(resp.Header, passed)
	if header.Get("Docker-Content-Digest") == "" && q.digest != "" {
		header.Set("Docker-Content-Digest", q.digest.String())
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/octet-stream")
	}
	if resp.ContentLength >= 0 && resp.StatusCode/100 != 3 {
		header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	return header
}

// resume lets the body of a blob's answer go on where it breaks off.
func (f *Finder) resume(ctx context.Context, from auth.Repository, ask query, resp *http.Response) {
	ask.pass = false // the caller has an answer already
	registry.Resume(ctx, resp, func(next, end int64) (*http.Response, error) {
		asking, cancel := withBudget(ctx, budgetOf(ctx).tenant, f.options.Timeout) // that of the first answer is over
		ask.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", next, end-1)}}
		resp, err := f.upstream.do(asking, from, ask)
		if err != nil {
			cancel()
			return nil, err
		}
		budgetOf(asking).begun()
		resp.Body = &body{resp.Body, cancel}
		return resp, nil
	})
}
