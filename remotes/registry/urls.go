package registry

import (
	"context"
	"io"
	"net/url"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxURLs bounds the places besides the registry that are asked for a layer;
// Windows' base layers have one or two.
const maxURLs = 4

// fetchElsewhere fetches a layer from its urls, in their order, then from the
// registry.
func (f fetcher) fetchElsewhere(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	var hosts []Host
	for _, text := range desc.URLs[:min(len(desc.URLs), maxURLs)] {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue // as containerd has it
		}
		h := f.hosts[len(f.hosts)-1] // the registry itself, unless hosts.toml says otherwise
		h.Client, h.Capabilities = h.elsewhere(u), docker.HostCapabilityPull
		h.RegistryHost.Authorizer = nil
		if update := f.registries.options.UpdateClient; update != nil {
			if err := update(h.Client); err != nil {
				return nil, err
			}
		}
		hosts = append(hosts, h)
	}
	inner, err := f.registries.resolverAt(append(hosts, retryingHosts(f.hosts)...)).Fetcher(ctx, f.ref)
	if err != nil {
		return nil, err
	}
	desc.URLs = nil
	return inner.Fetch(ctx, desc)
}
