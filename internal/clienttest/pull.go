package clienttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/plugins/content/local"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/registry"
)

// NewClient returns a client of registries whose connections end with the test.
func NewClient(t testing.TB, options registry.Options) *registry.Client {
	t.Helper()
	c := registry.New(options)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// Pull does what containerd does: it resolves, and fetches all that is
// missing in the store, from the root on, with ChildrenHandler unless handlers are
// given. It does not wait before it asks again.
func Pull(resolver remotes.Resolver, store content.Store, ref string, handlers ...images.Handler) (ocispec.Descriptor, error) {
	return PullIn(new(Pauses).In(context.Background()), resolver, store, ref, handlers...)
}

// PullIn is Pull in a context, which says how long to wait.
func PullIn(ctx context.Context, resolver remotes.Resolver, store content.Store, ref string, handlers ...images.Handler) (ocispec.Descriptor, error) {
	name, root, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return root, err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return root, err
	}
	if handlers == nil {
		handlers = []images.Handler{images.ChildrenHandler(store)}
	}
	return root, images.Dispatch(ctx, images.Handlers(
		append([]images.Handler{remotes.FetchHandler(store, fetcher)}, handlers...)...,
	), nil, root)
}

// NewStore returns a store whose blobs are checked when the test ends.
func NewStore(t testing.TB) content.Store {
	t.Helper()
	dir := t.TempDir()
	NoError(t, os.Mkdir(filepath.Join(dir, "blobs"), 0o755)) // an empty store cannot be walked without
	store := Must(local.NewStore(dir))
	t.Cleanup(func() {
		NoError(t, store.Walk(context.Background(), func(info content.Info) error {
			data := Must(content.ReadBlob(context.Background(), store, ocispec.Descriptor{Digest: info.Digest, Size: info.Size}))
			if got := info.Digest.Algorithm().FromBytes(data); got != info.Digest {
				t.Errorf("the store holds %s as %s", got, info.Digest)
			}
			return nil
		}))
	})
	return store
}

// Stored reports whether content is complete in a store.
func Stored(store content.Store, d ocispec.Descriptor) bool {
	_, err := store.Info(context.Background(), d.Digest)
	return err == nil
}
