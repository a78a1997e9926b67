package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// serveBlob passes a blob on as it comes, from the first candidate that has
// it. The client verifies it.
func (g *Gateway) serveBlob(ctx context.Context, w *answer, q request) error {
	p, known, err := g.place(ctx, q, q.digest)
	if err != nil {
		return err
	}
	resp, err := g.openBlob(ctx, q, p)
	if errdefs.IsNotFound(err) && !known {
		if p, err = g.search(ctx, q, err); err == nil {
			resp, err = g.openBlob(ctx, q, p)
		}
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return pass(ctx, w, q, resp)
}

// openBlob asks the candidates.
func (g *Gateway) openBlob(ctx context.Context, q request, p nested.Place) (*http.Response, error) {
	resp, served, err := askEach(p, q.repository, func(candidate auth.Repository) (*http.Response, error) {
		return g.askBlob(ctx, q, p, candidate)
	})
	if err == nil {
		g.metrics.hop(q, served)
	}
	return resp, err
}

// askBlob asks one candidate, under the paths that its place allows.
func (g *Gateway) askBlob(ctx context.Context, q request, p nested.Place, from auth.Repository) (resp *http.Response, err error) {
	ask := query{method: http.MethodGet, reference: q.digest.String(), header: q.header, pass: !g.options.FollowRedirects && !q.head}
	if q.head {
		ask.method = http.MethodHead
	}
	for _, mediaType := range p.MediaTypes() {
		ask.kind, ask.accept = blobs, accept(mediaType)
		if images.IsManifestType(mediaType) || images.IsIndexType(mediaType) {
			ask.kind = manifests
		}
		if mediaType == "" {
			ask.accept = "*/*"
		}
		if resp, err = g.upstream.do(ctx, from, ask); !errdefs.IsNotFound(err) {
			break
		}
	}
	if err == nil && p.Strict && resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 && resp.ContentLength != p.Descriptor.Size {
		_ = resp.Body.Close()
		return nil, &nested.VerifyError{Repository: from, Digest: q.digest, Reason: fmt.Sprintf("size is %d, not %d", resp.ContentLength, p.Descriptor.Size)}
	}
	return resp, err
}

// passed are the headers of a registry's answer that reach the client.
var passed = []string{"Content-Type", "Content-Range", "Content-Encoding", "Accept-Ranges", "Etag", "Last-Modified",
	"Docker-Content-Digest", "Docker-Distribution-Api-Version", "Location", "Warning", "Oci-Filters-Applied"}

// pass passes an answer on.
func pass(ctx context.Context, w *answer, q request, resp *http.Response) error {
	header := w.Header()
	for _, name := range passed {
		if v := resp.Header.Values(name); len(v) > 0 {
			header[name] = v
		}
	}
	if header.Get("Docker-Content-Digest") == "" && q.digest != "" {
		header.Set("Docker-Content-Digest", q.digest.String())
	}
	if redirect := resp.StatusCode/100 == 3; redirect {
		return w.send(ctx, resp.StatusCode, nil, q.head)
	}
	if resp.ContentLength >= 0 {
		header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	if err := w.send(ctx, resp.StatusCode, nil, q.head); err != nil || q.head {
		return err
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, *buffer)
	return err
}

// buffers hold two records of TLS, more than which no read returns.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
