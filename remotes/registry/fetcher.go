package registry

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// fetcher is docker's fetcher with better errors.
type fetcher struct {
	inner      remotes.Fetcher
	client     *Client
	ref        string
	repository auth.Repository
	hosts      []Host
	tags       *flight.Group[auth.Repository, func(tag string) bool]
}

var (
	_ remotes.Fetcher          = fetcher{}
	_ remotes.FetcherByDigest  = fetcher{}
	_ remotes.ReferrersFetcher = fetcher{}
)

// Fetch implements remotes.Fetcher.
func (f fetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if IsSmall(desc) {
		ctx = auth.Small(ctx)
	}
	if !oci.IsManifestOrIndex(desc.MediaType) {
		ctx = context.WithValue(ctx, expectedSize{}, desc.Size)
	}
	fetch := f.inner.Fetch
	if oci.IsForeign(desc) {
		fetch = f.fetchElsewhere
	} else {
		desc.URLs = nil
	}
	body, err := fetch(ctx, desc)
	if err != nil {
		return nil, explain(ctx, f.hosts, err)
	}
	return explainedBody{body, ctx, f.hosts}, nil
}

// FetchByDigest implements remotes.FetcherByDigest.
func (f fetcher) FetchByDigest(ctx context.Context, d digest.Digest, opts ...remotes.FetchByDigestOpts) (io.ReadCloser, ocispec.Descriptor, error) {
	inner := f.inner.(remotes.FetcherByDigest)
	body, desc, err := inner.FetchByDigest(ctx, d, opts...)
	if err != nil && !errdefs.IsNotFound(err) {
		// It asks with HEAD for the size, and does not say what was answered.
		body, desc, err = f.fetchByGet(ctx, d, opts...)
	}
	return body, desc, explain(ctx, f.hosts, err)
}

// fetchByGet is docker's FetchByDigest with HEAD made as GET.
func (f fetcher) fetchByGet(ctx context.Context, d digest.Digest, opts ...remotes.FetchByDigestOpts) (io.ReadCloser, ocispec.Descriptor, error) {
	hosts := prepared(f.hosts, func(h Host, last bool) Host { return h.retried(last).withHeadByGet() })
	inner, err := f.client.resolverAt(hosts).Fetcher(ctx, f.ref)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	return inner.(remotes.FetcherByDigest).FetchByDigest(ctx, d, opts...)
}

// explainedBody explains the errors of a body: docker's fetcher sends its
// request at the first Read.
type explainedBody struct {
	io.ReadCloser
	ctx   context.Context
	hosts []Host
}

func (b explainedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(b.ctx, b.hosts, err)
	}
	return n, err
}

func (b explainedBody) Seek(offset int64, whence int) (int64, error) {
	return b.ReadCloser.(io.Seeker).Seek(offset, whence)
}

// small is the size in bytes up to which transferring content mostly takes less
// time than the round trip to the registry.
const small = 256 << 10

// IsSmall reports whether content is so small that many such requests may be
// made at once, and share a connection.
func IsSmall(desc ocispec.Descriptor) bool { return desc.Size <= small }

// maxURLs bounds the URLs that are tried for a layer before the registry;
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
		h.Client, h.Capabilities = elsewhere(h.registry, u), docker.HostCapabilityPull
		h.RegistryHost.Authorizer = nil
		if update := f.client.options.UpdateClient; update != nil {
			if err := update(h.Client); err != nil {
				return nil, err
			}
		}
		hosts = append(hosts, h)
	}
	inner, err := f.client.resolverAt(append(hosts, prepared(f.hosts, Host.retried)...)).Fetcher(ctx, f.ref)
	if err != nil {
		return nil, err
	}
	desc.URLs = nil
	return inner.Fetch(ctx, desc)
}
