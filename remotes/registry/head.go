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

// glancing returns the host with a client that makes HEADs as GETs of one byte.
func (h Host) glancing() Host {
	return h.through(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodHead {
			return glance(req, next.RoundTrip)
		}
		return next.RoundTrip(req)
	})
}

// glance makes of the answer to a GET what HEAD would have got. Of a blob it
// asks for the first byte; a registry that sends all of it is cut off.
func glance(req *http.Request, do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
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

// Head asks for the headers of a repository's "manifests/…" or "blobs/…", at
// the registry or a mirror. Where HEAD is refused, or answered with a page, GET
// decides. The class of the error is errdefs.ErrNotFound for a 404; denials are
// [auth.DeniedError].
func (c *Client) Head(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	return c.atEach(repository, func(h Host) (http.Header, error) {
		header, err := h.look(ctx, repository, path, accept)
		if isRefusedHead(err) {
			header, err = h.glancing().look(ctx, repository, path, accept)
		}
		return header, err
	})
}

// Glance is Head by a GET that is closed at once.
func (c *Client) Glance(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	return c.atEach(repository, func(h Host) (http.Header, error) { return h.glancing().look(ctx, repository, path, accept) })
}

// atEach asks the hosts from which a repository may be pulled, in their order,
// until one answers.
func (c *Client) atEach(repository auth.Repository, ask func(Host) (http.Header, error)) (http.Header, error) {
	hosts, err := c.Hosts(repository)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("%s: no host to ask: %w", repository, errdefs.ErrNotFound)
	for h := range inOrder(hosts, docker.HostCapabilityPull) {
		var header http.Header
		if header, err = ask(h); err == nil {
			return header, nil
		}
	}
	return nil, err
}

// look asks one host.
func (h Host) look(ctx context.Context, repository auth.Repository, path, mediaTypes string) (http.Header, error) {
	resp, err := h.ask(ctx, Request{Repository: repository, Method: http.MethodHead, Path: path, Header: accept(mediaTypes)})
	if err != nil {
		return nil, err
	}
	return resp.Header, resp.Body.Close()
}
