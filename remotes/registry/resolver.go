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

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// Resolve implements remotes.Resolver. It asks with HEAD, as containerd does,
// and with GET where HEAD is refused or says of nothing that could be a
// manifest: the GET decides.
func (c *Client) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	look := new(lookup)
	name, desc, err := c.resolve(ctx, ref, func(h Host, last bool) Host { return look.at(h.retried(last)) })
	if err == nil && !isManifest(desc) && !look.absent || isRefusedHead(err) {
		name, desc, _, err = c.ResolveContent(ctx, ref)
	}
	return name, desc, err
}

// resolve resolves a reference at the hosts that prepare makes of those for
// reading.
func (c *Client) resolve(ctx context.Context, ref string, prepare func(h Host, last bool) Host) (string, ocispec.Descriptor, error) {
	hosts, err := c.hostsFor(ref)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	name, desc, err := c.resolverAt(prepared(hosts, prepare)).Resolve(auth.Small(ctx), ref)
	return name, desc, explain(ctx, hosts, err)
}

// ResolveContent is Resolve with the content of the manifest or index, which is
// nil when that is not at hand: one GET in place of HEAD and GET. It is for
// whoever would fetch it next, and nobody has verified it.
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
	return fetcher{inner, c, ref, repository, hosts}, err
}

// hostsFor returns the hosts of the repository of a reference, for reading.
func (c *Client) hostsFor(ref string) ([]Host, error) {
	repository, err := oci.RepositoryOf(ref)
	if err != nil {
		return nil, err
	}
	return c.Hosts(repository)
}

// prepared returns what prepare makes of each host. The last one is asked again
// when its failure may pass.
func prepared(hosts []Host, prepare func(h Host, last bool) Host) []Host {
	asked := slices.Clone(hosts)
	for i, h := range asked {
		asked[i] = prepare(h, i == len(asked)-1)
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

// resolution makes the HEAD of a manifest by which a resolver looks at its
// headers as a GET, whose body it keeps.
type resolution struct{ data []byte }

// at returns a host as it is asked for a resolution. What breaks off is asked
// for again when the host is retried.
func (r *resolution) at(h Host) Host { return h.through(r.ask) }

// ask makes the request.
func (r *resolution) ask(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodHead || !isOfManifest(req) {
		return next.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.Method = http.MethodGet
	resp, err := next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusOK {
		if err = r.take(resp); err != nil {
			return nil, errors.Join(err, resp.Body.Close())
		}
	}
	return resp, err
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
