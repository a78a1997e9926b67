package registry

import (
	"context"
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

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// Resolve implements remotes.Resolver. It asks with HEAD, as containerd does,
// and with GET where HEAD is refused or says of nothing that could be a
// manifest: the GET decides.
func (c *Client) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	ctx = looking(ctx)
	name, desc, err := c.resolve(ctx, ref)
	if err == nil && !isManifest(desc) && !lookupOf(ctx).absent || isRefusedHead(err) {
		name, desc, _, err = c.ResolveContent(ctx, ref)
	}
	return name, desc, err
}

func (c *Client) resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	resolver, hosts, err := c.resolver(ref)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	name, desc, err := resolver.Resolve(auth.Small(ctx), ref)
	return name, desc, explain(ctx, hosts, err)
}

// ResolveContent is Resolve with the content of the manifest or index, which is
// nil when that is not at hand: one GET in place of HEAD and GET. It is for
// whoever would fetch it next, and nobody has verified it.
func (c *Client) ResolveContent(ctx context.Context, ref string) (string, ocispec.Descriptor, []byte, error) {
	ctx, got := byGet(looking(ctx))
	name, desc, err := c.resolve(ctx, ref)
	return name, desc, got.data, err
}

// Fetcher implements remotes.Resolver.
func (c *Client) Fetcher(ctx context.Context, ref string) (remotes.Fetcher, error) {
	resolver, hosts, err := c.resolver(ref)
	if err != nil {
		return nil, err
	}
	inner, err := resolver.Fetcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	repository, err := oci.RepositoryOf(ref)
	return fetcher{inner, c, ref, repository, hosts}, err
}

// resolver returns the docker resolver for the repository of a reference, for
// reading.
func (c *Client) resolver(ref string) (remotes.Resolver, []Host, error) {
	repository, err := oci.RepositoryOf(ref)
	if err != nil {
		return nil, nil, err
	}
	hosts, err := c.Hosts(repository)
	if err != nil {
		return nil, nil, err
	}
	return c.resolverAt(retryingHosts(hosts)), hosts, nil
}

// retryingHosts asks hosts again, each as long as there is no other to ask.
func retryingHosts(hosts []Host) []Host {
	asked := slices.Clone(hosts)
	for i, h := range asked {
		asked[i] = h.retried(i == len(asked)-1)
		asked[i].RegistryHost.Authorizer = manifestFirst{h.Authorizer}
	}
	return asked
}

// resolverAt returns a docker resolver that asks some hosts.
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

// SetOptions implements remotes.ResolverWithOptions. The options are those of
// all pulls from then on; they replace earlier ones.
func (c *Client) SetOptions(options ...transfer.ImageResolverOption) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfer = options
}

type resolutionKey struct{}

// resolution takes the body when a resolver looks at a manifest's headers.
type resolution struct{ data []byte }

// byGet returns a context in which a resolver's HEAD of a manifest is made as
// a GET, whose body is kept.
func byGet(ctx context.Context) (context.Context, *resolution) {
	r := new(resolution)
	return context.WithValue(ctx, resolutionKey{}, r), r
}

// isManifest reports whether a resolver brought the descriptor of a manifest or
// index that can be relied on. Anything else may be a page.
func isManifest(desc ocispec.Descriptor) bool {
	return desc.Size > 0 && oci.IsManifestOrIndex(desc.MediaType) || desc.MediaType == images.MediaTypeDockerSchema1Manifest
}

// take reads the body, and makes of the answer what HEAD would have got.
func (r *resolution) take(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, docker.MaxManifestSize+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > docker.MaxManifestSize {
		return fmt.Errorf("the manifest is larger than %d bytes", docker.MaxManifestSize)
	}
	t, err := ManifestType(askedFor(resp.Request), resp.Header.Get("Content-Type"), data)
	if err != nil {
		return retry.Final(err)
	}
	resp.Header.Set("Content-Type", t)
	d := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if d.Validate() != nil {
		d = digest.FromBytes(data)
	} else if d.Algorithm().FromBytes(data) != d {
		return fmt.Errorf("%s answers with the digest %s and other content", askedFor(resp.Request), d)
	}
	resp.Header.Set("Docker-Content-Digest", d.String())
	resp.ContentLength = int64(len(data))
	r.data = data
	return nil
}
