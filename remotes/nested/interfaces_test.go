package nested_test

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// fixed is a resolver with one root and one fetcher for all.
type fixed struct {
	brokenResolver
	root    ocispec.Descriptor
	fetcher remotes.Fetcher
	options []transfer.ImageResolverOption
}

func (f *fixed) Resolve(_ context.Context, ref string) (string, ocispec.Descriptor, error) {
	return ref, f.root, nil
}

func (f *fixed) Fetcher(context.Context, string) (remotes.Fetcher, error) { return f.fetcher, nil }

func (f *fixed) SetOptions(options ...transfer.ImageResolverOption) { f.options = options }

type onlyFetch struct{}

func (onlyFetch) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) { return nil, nil }

type byDigest struct{ onlyFetch }

func (byDigest) FetchByDigest(context.Context, digest.Digest, ...remotes.FetchByDigestOpts) (io.ReadCloser, ocispec.Descriptor, error) {
	return nil, ocispec.Descriptor{}, nil
}

type withReferrers struct{ onlyFetch }

func (withReferrers) FetchReferrers(context.Context, digest.Digest, ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	return nil, nil
}

// TestOptionalInterfaces: a fetcher has those that the wrapped one has.
func TestOptionalInterfaces(t *testing.T) {
	for name, inner := range map[string]remotes.Fetcher{
		"none":      onlyFetch{},
		"by digest": byDigest{},
		"referrers": withReferrers{},
		"both": struct {
			byDigest
			remotes.ReferrersFetcher
		}{byDigest{}, withReferrers{}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := nested.New(&fixed{fetcher: inner}, nested.Options{}).Fetcher(context.Background(), "reg.test/p:v1")
			clienttest.NoError(t, err)
			_, wantDigest := inner.(remotes.FetcherByDigest)
			_, wantReferrers := inner.(remotes.ReferrersFetcher)
			if _, ok := f.(remotes.FetcherByDigest); ok != wantDigest {
				t.Errorf("FetcherByDigest: %t", ok)
			}
			if _, ok := f.(remotes.ReferrersFetcher); ok != wantReferrers {
				t.Errorf("ReferrersFetcher: %t", ok)
			}
		})
	}
}

func TestResolverWithOptions(t *testing.T) {
	base := &fixed{}
	var resolver remotes.Resolver = nested.New(base, nested.Options{})
	resolver.(remotes.ResolverWithOptions).SetOptions(transfer.WithMaxConcurrentDownloads(3))
	if len(base.options) != 1 {
		t.Errorf("the wrapped resolver got %d options", len(base.options))
	}
	nested.New(brokenResolver{}, nested.Options{}).SetOptions(transfer.WithMaxConcurrentDownloads(3)) // it takes none
}

// TestParallelLayers: containerd's settings for layers in several parts reach
// the children.
func TestParallelLayers(t *testing.T) {
	s := newScene(t, nested.Options{})
	s.resolver.SetOptions(transfer.WithMaxConcurrentDownloads(4), transfer.WithConcurrentLayerFetchBuffer(1024))
	member := clienttest.PutImage(s.registry, parent+"/web", string(make([]byte, 8192)))
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))))
	if n := s.registry.Count(func(q registrytest.Request) bool {
		return q.Reference == member.Layers[0].Digest.String() && q.Status == 206
	}); n < 2 {
		t.Errorf("the layer was asked for in %d parts", n)
	}
}

// TestReferrers: those of a member are asked for where the member was found.
func TestReferrers(t *testing.T) {
	s := newScene(t, nested.Options{})
	_, web, _ := bundle(t, s)
	copied := clienttest.NewImage("copied")
	copied.ManifestIn(s.registry, parent)
	root := s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(web.Descriptor, "web"), registrytest.Member(copied.Descriptor, "missing")))
	signature := s.registry.Referrer(parent+"/web", web.Descriptor, "application/x-signature")
	ofCopy := s.registry.Referrer(parent, copied.Descriptor, "application/x-signature")
	ofRoot := s.registry.Referrer(parent, root, "application/x-signature")

	ctx := context.Background()
	fetcher, _ := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
	for _, d := range []ocispec.Descriptor{root, web.Descriptor, copied.Descriptor} {
		clienttest.NoError(t, clienttest.Must(fetcher.Fetch(ctx, d)).Close())
	}
	for subject, want := range map[digest.Digest]ocispec.Descriptor{root.Digest: ofRoot, web.Digest: signature, copied.Digest: ofCopy} {
		found := clienttest.Must(fetcher.(remotes.ReferrersFetcher).FetchReferrers(ctx, subject))
		if len(found) != 1 || found[0].Digest != want.Digest {
			t.Errorf("referrers of %s: %+v, want %s", subject, found, want.Digest)
		}
	}
	body, _, err := fetcher.(remotes.FetcherByDigest).FetchByDigest(ctx, web.Layers[0].Digest)
	clienttest.NoError(t, err)
	data := clienttest.Must(io.ReadAll(body))
	clienttest.NoError(t, body.Close())
	if digest.FromBytes(data) != web.Layers[0].Digest {
		t.Error("FetchByDigest gives other content")
	}
}

// TestContainerdsResolver: any resolver can be wrapped; containerd's own is
// asked in the same order, after a denial too.
func TestContainerdsResolver(t *testing.T) {
	registry := registrytest.New(registrytest.WithTokenAuth()) // containerd asks for several scopes at once
	t.Cleanup(registry.Close)
	registry.Allow("all", "secret", parent, parent+"/b")
	member := clienttest.NewImage("member", "layer").In(registry, parent+"/a").In(registry, parent+"/b")
	registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(member.Descriptor, "a"), registrytest.Member(member.Descriptor, "b")), "v1")
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthCreds(func(string) (string, string, error) { return "all", "secret", nil }))
	base := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchAllHosts), docker.WithAuthorizer(authorizer))})
	store := clienttest.NewStore(t)
	_, err := clienttest.Pull(nested.New(base, nested.Options{}), store, registry.Host()+"/"+parent+":v1")
	clienttest.NoError(t, err)
	if n := registry.Count(registrytest.In(parent+"/b"), registrytest.Of(registrytest.KindBlob), func(q registrytest.Request) bool { return q.Status == 200 }); n != 2 {
		t.Errorf("%d blobs came from the second repository", n)
	}
	if got := len(slices.Compact(digests(store))); got != 4 {
		t.Errorf("%d blobs are stored", got)
	}
}
