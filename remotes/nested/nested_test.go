package nested_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/plugins/content/local"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// pull does what containerd does: it resolves, and fetches all that is
// missing in the store, from the root on.
func pull(t *testing.T, resolver remotes.Resolver, store content.Store, ref string) (ocispec.Descriptor, error) {
	t.Helper()
	ctx := context.Background()
	name, root, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return root, err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return root, err
	}
	return root, images.Dispatch(ctx, images.Handlers(
		remotes.FetchHandler(store, fetcher),
		images.ChildrenHandler(store),
	), nil, root)
}

func newStore(t *testing.T) content.Store {
	t.Helper()
	store, err := local.NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// stores returns a credential source over a Docker configuration.
func stores(t *testing.T, config string) auth.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return auth.NewStores(auth.StoresOptions{Files: []string{file}})
}

func TestThinnest(t *testing.T) {
	registry := registrytest.New(registrytest.WithTokenAuth())
	defer registry.Close()
	registry.Allow("all", "secret", "*")
	web := registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"f": "web"}))
	worker := registry.Image("org/app/worker", registrytest.TarLayer(map[string]string{"f": "worker"}))
	index := registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(worker, "worker"))
	registry.Tag("org/app", "v1", index.Digest)
	resolver := nested.New(nested.NewRegistries(nested.RegistriesOptions{
		PlainHTTP:   true,
		Credentials: stores(t, `{"auths":{"`+registry.Host()+`":{"username":"all","password":"secret"}}}`),
	}), nested.Options{})
	_, err := pull(t, resolver, newStore(t), registry.Host()+"/org/app:v1")
	for _, r := range registry.Log() {
		t.Log(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = io.EOF
}
