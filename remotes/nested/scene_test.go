package nested_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// parent is the repository of the roots in most tests.
const parent = "org/app"

// scene is a registry with one user who may pull everything, a resolver that
// has the user's credential, and a store. What must hold after each pull is
// checked when the test ends.
type scene struct {
	t        *testing.T
	registry *registrytest.Registry
	resolver *nested.Resolver
	metrics  *registry.Metrics
	store    content.Store
	source   *lookups
	pauses   clienttest.Pauses // of s.pull
}

func newScene(t *testing.T, options nested.Options) *scene {
	t.Helper()
	reg := newRegistry(t, registrytest.WithTokenAuth())
	reg.Allow("all", "secret", "*")
	s := &scene{
		t:        t,
		registry: reg,
		metrics:  new(registry.Metrics),
		store:    newStore(t),
		source:   &lookups{Source: clienttest.UserPassword(t, reg.Host(), "all", "secret")},
	}
	s.resolver = nested.New(s.registries(), options)
	before, start := askedDNS.Load(), logged.Len()
	t.Cleanup(func() {
		checkLedger(t, s.registry, start, "secret")
		if n := askedDNS.Load() - before; n > 0 {
			t.Errorf("DNS was asked %d times", n)
		}
	})
	return s
}

// checkLedger judges the requests to a registry, and what was logged since there were so many bytes.
func checkLedger(t *testing.T, reg *registrytest.Registry, start int, passwords ...string) {
	t.Helper()
	clienttest.CheckLedger(t, reg, &logged, start, []string{parent, parent + "0", parent + "1", parent + "2"}, passwords)
}

func (s *scene) registries() *registry.Client {
	registries := registry.New(registry.Options{
		PlainHTTP:   true,
		Credentials: s.source,
		Metrics:     s.metrics,
	})
	s.t.Cleanup(registries.CloseIdleConnections)
	return registries
}

// pull pulls the tag v1 of the parent, after tagging the root with it.
func (s *scene) pull(root ocispec.Descriptor) error {
	s.t.Helper()
	s.registry.Tag(parent, "v1", root.Digest)
	_, err := pullIn(s.pauses.In(context.Background()), s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	return err
}

// want fails unless what was asked for is exactly that.
func (s *scene) want(lines ...[]string) {
	s.t.Helper()
	wantLog(s.t, s.registry, lines...)
}

// newRegistry starts a registry that ends with the test, after a look at
// every request it got.
func newRegistry(t *testing.T, options ...registrytest.Option) *registrytest.Registry {
	t.Helper()
	reg := registrytest.New(options...)
	t.Cleanup(reg.Close)
	t.Cleanup(func() {
		for _, q := range reg.Log() {
			if q.Kind == registrytest.KindToken && len(q.Scopes) != 1 {
				t.Errorf("a token request with scopes %q", q.Scopes)
			}
			if q.Kind == registrytest.KindOther {
				t.Errorf("a request that no registry knows: %s", q)
			}
		}
	})
	return reg
}

// pull does what containerd does: it resolves, and fetches all that is
// missing in the store, from the root on. It does not wait before it asks again.
func pull(resolver remotes.Resolver, store content.Store, ref string, handlers ...images.Handler) (ocispec.Descriptor, error) {
	return pullIn(new(clienttest.Pauses).In(context.Background()), resolver, store, ref, handlers...)
}

func pullIn(ctx context.Context, resolver remotes.Resolver, store content.Store, ref string, handlers ...images.Handler) (ocispec.Descriptor, error) {
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

// newStore returns a store whose blobs are checked when the test ends.
func newStore(t *testing.T) content.Store {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "blobs"), 0o755)) // an empty store cannot be walked without
	store := must(local.NewStore(dir))
	t.Cleanup(func() {
		check(t, store.Walk(context.Background(), func(info content.Info) error {
			data := must(content.ReadBlob(context.Background(), store, ocispec.Descriptor{Digest: info.Digest, Size: info.Size}))
			if got := info.Digest.Algorithm().FromBytes(data); got != info.Digest {
				t.Errorf("the store holds %s as %s", got, info.Digest)
			}
			return nil
		}))
	})
	return store
}

// stored reports whether content is complete in a store.
func stored(store content.Store, d ocispec.Descriptor) bool {
	_, err := store.Info(context.Background(), d.Digest)
	return err == nil
}

type object = map[string]any

// image is an image and what it consists of.
type image struct {
	ocispec.Descriptor
	config ocispec.Descriptor
	layers []ocispec.Descriptor
	bytes  map[digest.Digest][]byte
}

// newImage makes an image, unlike others, whose layers hold these texts.
func newImage(of string, layers ...string) image {
	i := image{bytes: map[digest.Digest][]byte{}}
	i.config = i.add(ocispec.MediaTypeImageConfig, []byte(fmt.Sprintf(`{"os":"linux","of":%q}`, of)))
	for _, text := range layers {
		i.layers = append(i.layers, i.add(ocispec.MediaTypeImageLayer, []byte(text)))
	}
	i.Descriptor = i.add(ocispec.MediaTypeImageManifest, manifestOf(i.config, i.layers...))
	return i
}

func (i image) add(mediaType string, body []byte) ocispec.Descriptor {
	d := describe(mediaType, body)
	i.bytes[d.Digest] = body
	return d
}

// in puts the whole image into a repository.
func (i image) in(reg *registrytest.Registry, repository string) image {
	i.blobsIn(reg, repository)
	i.manifestIn(reg, repository)
	return i
}

func (i image) manifestIn(reg *registrytest.Registry, repository string) {
	reg.Put(repository, i.MediaType, i.bytes[i.Digest])
}

func (i image) blobsIn(reg *registrytest.Registry, repository string) {
	for _, d := range i.parts() {
		reg.PutBlob(repository, d.MediaType, i.bytes[d.Digest])
	}
}

// parts are config and layers.
func (i image) parts() []ocispec.Descriptor {
	return append([]ocispec.Descriptor{i.config}, i.layers...)
}

// putImage puts an image of its own into a repository.
func putImage(reg *registrytest.Registry, repository string, layers ...string) image {
	return newImage(repository, layers...).in(reg, repository)
}

func describe(mediaType string, body []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

func manifestOf(config ocispec.Descriptor, layers ...ocispec.Descriptor) []byte {
	return encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	})
}

func indexOf(members ...ocispec.Descriptor) []byte {
	return encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: members,
	})
}

// lookups remembers for which repositories a source was asked.
type lookups struct {
	auth.Source
	asked sync.Map
}

func (l *lookups) Lookup(ctx context.Context, r auth.Repository) (auth.Credential, error) {
	l.asked.Store(r.Name(), true)
	return l.Source.Lookup(ctx, r)
}

// names lists the repositories, sorted.
func (l *lookups) names() []string {
	var names []string
	l.asked.Range(func(name, _ any) bool { names = append(names, name.(string)); return true })
	slices.Sort(names)
	return names
}

func encode(value any) []byte { return must(json.Marshal(value)) }

// put is registrytest's Put, with a root's tag.
func (s *scene) put(mediaType string, body []byte) ocispec.Descriptor {
	return s.registry.Put(parent, mediaType, body, "v1")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeTemp writes a file that goes with the test.
func writeTemp(t *testing.T, data []byte) (path string, err error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	return path, os.WriteFile(path, data, 0o600)
}
