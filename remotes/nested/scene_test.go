package nested_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
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
	reg, credentials := clienttest.NewPrivateRegistry(t, []string{parent, parent + "0", parent + "1", parent + "2"})
	s := &scene{
		t:        t,
		registry: reg,
		metrics:  new(registry.Metrics),
		store:    clienttest.NewStore(t),
		source:   &lookups{Source: credentials},
	}
	s.resolver = nested.New(s.registries(), options)
	return s
}

func (s *scene) registries() *registry.Client {
	registries := clienttest.NewClient(s.t, registry.Options{
		PlainHTTP:   true,
		Credentials: s.source,
		Metrics:     s.metrics,
	})
	return registries
}

// pull pulls the tag v1 of the parent, after tagging the root with it.
func (s *scene) pull(root ocispec.Descriptor) error {
	s.t.Helper()
	s.registry.Tag(parent, "v1", root.Digest)
	_, err := clienttest.PullIn(s.pauses.In(context.Background()), s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	return err
}

// pulling is the fetcher of a pull, with what it can do besides.
type pulling interface {
	remotes.Fetcher
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
}

// begin resolves a reference, and returns the fetcher and the root.
func begin(ctx context.Context, t *testing.T, resolver remotes.Resolver, ref string) (pulling, ocispec.Descriptor) {
	t.Helper()
	name, root, err := resolver.Resolve(ctx, ref)
	clienttest.NoError(t, err)
	f, err := resolver.Fetcher(ctx, name)
	clienttest.NoError(t, err)
	return f.(pulling), root
}

// want fails unless what was asked for is exactly that.
func (s *scene) want(lines ...[]string) {
	s.t.Helper()
	clienttest.WantLog(s.t, s.registry, lines...)
}

type object = map[string]any

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

// put is registrytest's Put, with a root's tag.
func (s *scene) put(mediaType string, body []byte) ocispec.Descriptor {
	return s.registry.Put(parent, mediaType, body, "v1")
}
