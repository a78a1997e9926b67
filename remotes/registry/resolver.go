package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// Resolve implements remotes.Resolver. It uses HEAD, as containerd does, and
// then GET where HEAD is refused or its answer cannot be that of a manifest.
func (c *Client) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	look := new(lookup)
	name, desc, err := c.resolve(ctx, ref, func(h Host, last bool) Host { return look.at(h.retried(last)) })
	if err == nil && !isManifest(desc) && !look.absent || IsRefusedHead(err) {
		name, desc, _, err = c.ResolveContent(ctx, ref)
	}
	return name, desc, err
}

// resolve resolves a reference at the hosts for reading, after prepare has
// wrapped them.
func (c *Client) resolve(ctx context.Context, ref string, prepare func(h Host, last bool) Host) (string, ocispec.Descriptor, error) {
	hosts, err := c.hostsFor(ref)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	name, desc, err := c.resolverAt(prepared(hosts, prepare)).Resolve(auth.Small(ctx), ref)
	return name, desc, explain(ctx, hosts, err)
}

// ResolveContent is Resolve with the content of the manifest or index, or nil
// when it was not read: one GET in place of HEAD and GET. It is for callers
// that would fetch the content next. The content is not verified.
func (c *Client) ResolveContent(ctx context.Context, ref string) (string, ocispec.Descriptor, []byte, error) {
	look, got := new(lookup), new(resolution)
	name, desc, err := c.resolve(ctx, ref, func(h Host, last bool) Host { return look.at(got.at(h).retried(last)) })
	return name, desc, got.data, calledGet(err)
}

// Fetcher implements remotes.Resolver.
func (c *Client) Fetcher(ctx context.Context, ref string) (remotes.Fetcher, error) {
	hosts, err := c.hostsFor(ref)
	if err != nil {
		return nil, err
	}
	inner, err := c.resolverAt(prepared(hosts, Host.retried)).Fetcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	repository, err := oci.RepositoryOf(ref)
	return fetcher{inner, c, ref, repository, hosts, new(flight.Group[auth.Repository, func(tag string) bool])}, err
}

// hostsFor returns the hosts of the repository of a reference, for reading.
func (c *Client) hostsFor(ref string) ([]Host, error) {
	repository, err := oci.RepositoryOf(ref)
	if err != nil {
		return nil, err
	}
	return c.Hosts(repository)
}

// prepared calls prepare for each host. Requests to the last one are retried.
func prepared(hosts []Host, prepare func(h Host, last bool) Host) []Host {
	result := slices.Clone(hosts)
	for i, h := range result {
		result[i] = prepare(h, i == len(result)-1)
	}
	return result
}

// resolverAt returns a docker resolver that uses some hosts.
func (c *Client) resolverAt(hosts []Host) remotes.Resolver {
	plain := make([]docker.RegistryHost, len(hosts))
	for i, h := range hosts {
		plain[i] = h.RegistryHost
	}
	resolver := docker.NewResolver(docker.ResolverOptions{
		Hosts:   func(string) ([]docker.RegistryHost, error) { return plain, nil },
		Headers: c.header(),
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	resolver.(remotes.ResolverWithOptions).SetOptions(c.transfer...)
	return resolver
}

// SetOptions implements remotes.ResolverWithOptions. The options apply to all
// later pulls, and replace earlier ones.
func (c *Client) SetOptions(options ...transfer.ImageResolverOption) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfer = options
}

// resolution makes the HEAD of a manifest, with which a resolver reads its
// headers, as a GET, and keeps the body.
type resolution struct{ data []byte }

// at returns a host for a resolution. A body that breaks off is requested again
// when the host retries.
func (r *resolution) at(h Host) Host { return h.through(r.roundTrip) }

// roundTrip makes the request.
func (r *resolution) roundTrip(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodHead || !isOfManifest(req) {
		return next.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.Method = http.MethodGet
	resp, err := next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusOK {
		if err = r.readBody(resp); err != nil {
			return nil, errors.Join(err, resp.Body.Close())
		}
	}
	return resp, err
}

// isManifest reports whether a resolver returned the descriptor of a manifest
// or index that can be relied on. Anything else may be a page.
func isManifest(desc ocispec.Descriptor) bool {
	return desc.Size > 0 && oci.IsManifestOrIndex(desc.MediaType) || desc.MediaType == images.MediaTypeDockerSchema1Manifest
}

// readBody reads the body, and turns the answer into what HEAD would have
// returned.
func (r *resolution) readBody(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifest+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > oci.MaxManifest {
		return fmt.Errorf("the manifest is larger than %d bytes", oci.MaxManifest)
	}
	t, err := ManifestType(requestedRepository(resp.Request), resp.Header.Get("Content-Type"), data)
	if err != nil {
		return retry.Final(err)
	}
	resp.Header.Set("Content-Type", t)
	d := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if d.Validate() != nil {
		d = digest.FromBytes(data)
	} else if d.Algorithm().FromBytes(data) != d {
		return fmt.Errorf("%s answers with the digest %s and other content", requestedRepository(resp.Request), d)
	}
	resp.Header.Set("Docker-Content-Digest", d.String())
	resp.ContentLength = int64(len(data))
	r.data = data
	return nil
}
