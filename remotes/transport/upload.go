package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// begin begins the upload of a blob. Whoever may not do that hears so before
// members are looked at. It returns nil where the registry has mounted the blob,
// as the query asks.
func (p *push) begin(ctx context.Context, query url.Values) (*url.URL, error) {
	resp, err := p.origin.Send(ctx, http.MethodPost, &url.URL{Path: p.q.Path(find.Blobs, "uploads/"), RawQuery: query.Encode()}, nil, nil, 0)
	if err != nil {
		return nil, err
	}
	mounted := resp.StatusCode == http.StatusCreated && query != nil
	if resp.StatusCode != http.StatusAccepted && !mounted {
		return nil, registry.Came(resp)
	}
	if err = resp.Body.Close(); err != nil || mounted {
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
	if resp, err := p.origin.Send(ctx, http.MethodDelete, upload, nil, nil, 0); err == nil {
		_ = resp.Body.Close()
	}
}

// finishUpload sends a blob of a size to its upload. The registry verifies it.
func (p *push) finishUpload(ctx context.Context, upload *url.URL, d digest.Digest, data io.Reader, size int64) error {
	query := upload.Query()
	query.Set("digest", d.String())
	end := *upload
	end.RawQuery = query.Encode()
	return created(p.origin.Send(ctx, http.MethodPut, &end, http.Header{"Content-Type": {"application/octet-stream"}}, data, size))
}

// putManifest puts another manifest into the repository than the client does.
func (p *push) putManifest(ctx context.Context, reference, mediaType string, data []byte) error {
	to := &url.URL{Path: p.q.Path(find.Manifests, reference)}
	return created(p.origin.Send(ctx, http.MethodPut, to, http.Header{"Content-Type": {mediaType}}, bytes.NewReader(data), int64(len(data))))
}

// created takes an answer that has to be 201. Another one is the client's.
func created(resp *http.Response, err error) error {
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusCreated:
		return registry.Came(resp)
	}
	return resp.Body.Close()
}
