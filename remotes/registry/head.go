package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// withHeadByGet returns the host with a client that makes HEAD requests as GETs
// of one byte.
func (h Host) withHeadByGet() Host {
	return h.through(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodHead {
			return headByGet(req, next.RoundTrip)
		}
		return next.RoundTrip(req)
	})
}

// headByGet turns the answer to a GET into what HEAD would have returned. For a
// blob it requests the first byte only; when a registry sends all of it, the
// connection is closed.
func headByGet(req *http.Request, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Method = http.MethodGet
	if !isOfManifest(req) {
		req.Header.Set("Range", "bytes=0-0")
	}
	resp, err := do(req)
	if err != nil {
		return nil, err
	}
	_, total, partial := strings.Cut(resp.Header.Get("Content-Range"), "/")
	switch size, notSaid := strconv.ParseInt(total, 10, 64); {
	case resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && total == "0":
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		resp.ContentLength = -1
		if partial && notSaid == nil {
			resp.ContentLength = size
		}
		resp.Header.Del("Content-Range")
	case resp.StatusCode != http.StatusOK:
		return resp, nil // redirects, and what an error says
	}
	resp.Header.Del("Content-Length")
	if resp.ContentLength >= 0 {
		resp.Header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	err = resp.Body.Close()
	resp.Body = http.NoBody
	return resp, err
}

// Head requests the headers of a repository's "manifests/…" or "blobs/…", from
// the registry or a mirror. Where HEAD is refused, or answered with a page, a
// GET decides. The class of the error is errdefs.ErrNotFound for a 404; denials
// are [auth.DeniedError].
func (c *Client) Head(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	return c.atEach(repository, func(h Host) (http.Header, error) {
		header, err := h.head(ctx, repository, path, accept)
		if IsRefusedHead(err) {
			header, err = h.withHeadByGet().head(ctx, repository, path, accept)
		}
		return header, err
	})
}

// HeadByGet is Head by a GET whose body is not read.
func (c *Client) HeadByGet(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	return c.atEach(repository, func(h Host) (http.Header, error) { return h.withHeadByGet().head(ctx, repository, path, accept) })
}

// atEach tries the hosts from which a repository may be pulled, in their order,
// until one answers.
func (c *Client) atEach(repository auth.Repository, request func(Host) (http.Header, error)) (http.Header, error) {
	hosts, err := c.Hosts(repository)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("%s: hosts.toml names no host for it: %w", repository, errdefs.ErrNotFound)
	for h := range inOrder(hosts, docker.HostCapabilityPull) {
		var header http.Header
		if header, err = request(h); err == nil {
			return header, nil
		}
	}
	return nil, err
}

// head makes the request to one host.
func (h Host) head(ctx context.Context, repository auth.Repository, path, mediaTypes string) (http.Header, error) {
	resp, err := h.doOK(ctx, Request{Repository: repository, Method: http.MethodHead, Path: path, Header: accept(mediaTypes)})
	if err != nil {
		return nil, err
	}
	return resp.Header, resp.Body.Close()
}
