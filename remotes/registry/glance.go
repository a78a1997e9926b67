package registry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// glanceKey is the key of a context whose HEADs are made as GETs of one byte.
type glanceKey struct{}

func glancing(req *http.Request) bool {
	return req.Method == http.MethodHead && req.Context().Value(glanceKey{}) != nil
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
func (r *Client) Head(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	return r.atEach(repository, func(h Host) (http.Header, error) {
		header, err := r.look(ctx, h, repository, path, accept)
		if isRefusedHead(err) {
			header, err = r.look(context.WithValue(ctx, glanceKey{}, true), h, repository, path, accept)
		}
		return header, err
	})
}

// Glance is Head by a GET that is closed at once.
func (r *Client) Glance(ctx context.Context, repository auth.Repository, path, accept string) (http.Header, error) {
	ctx = context.WithValue(ctx, glanceKey{}, true)
	return r.atEach(repository, func(h Host) (http.Header, error) { return r.look(ctx, h, repository, path, accept) })
}

// atEach asks the hosts from which a repository may be pulled, in their order,
// until one answers.
func (r *Client) atEach(repository auth.Repository, ask func(Host) (http.Header, error)) (http.Header, error) {
	hosts, err := r.Hosts(repository)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("%s: no host to ask: %w", repository, errdefs.ErrNotFound)
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool { return !h.Capabilities.Has(docker.HostCapabilityPull) })
	for i, h := range hosts {
		h.RegistryHost = retrying(h.RegistryHost, i == len(hosts)-1)
		var header http.Header
		if header, err = ask(h); err == nil {
			return header, nil
		}
	}
	return nil, err
}

// look asks one host.
func (r *Client) look(ctx context.Context, h Host, repository auth.Repository, path, accept string) (http.Header, error) {
	resp, err := r.ask(ctx, h, repository, http.MethodHead, h.URL(repository, path), accept)
	if err != nil {
		return nil, err
	}
	return resp.Header, resp.Body.Close()
}
