package plugin

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/local"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registrytest"
)

// scene is containerd's transfer service with ours around it, in the process, before a registry.
type scene struct {
	*service
	t        *testing.T
	ctx      context.Context
	registry *registrytest.Registry
	images   images.Store
	config   config.Plugin
}

func newScene(t *testing.T, options ...registrytest.Option) *scene {
	t.Helper()
	dir := t.TempDir()
	store, err := contentlocal.NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	bolt, err := bbolt.Open(filepath.Join(dir, "meta.db"), 0o600, &bbolt.Options{NoSync: true}) // it need not outlive the machine
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bolt.Close() })
	db := metadata.NewDB(bolt, store, nil)
	if err := db.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, ctx: namespaces.WithNamespace(t.Context(), "test"), images: metadata.NewImageStore(db), config: config.DefaultPlugin()}
	s.config.DockerConfig = nil
	manager := metadata.NewLeaseManager(db)
	s.service = &service{
		Transferrer: local.NewTransferService(db.ContentStore(), s.images, local.TransferConfig{Leases: manager, MaxConcurrentDownloads: 3, MaxConcurrentUploadedLayers: 1}),
		content:     db.ContentStore(),
		leases:      manager,
		settings:    func() *settings { return newSettings(&s.config) },
	}
	s.registry = registrytest.New(options...)
	t.Cleanup(s.registry.Close)
	return s
}

// credentials are those of a client.
type credentials func(ref, host string) (registry.Credentials, error)

func (c credentials) GetCredentials(_ context.Context, ref, host string) (registry.Credentials, error) {
	return c(ref, host)
}

// pull pulls a tag of org/app as a client does that may bring credentials.
func (s *scene) pull(tag string, c credentials, opts ...transfer.Opt) error {
	s.t.Helper()
	ref := s.registry.Host() + "/org/app:" + tag
	options := []registry.Opt{registry.WithDefaultScheme("http")}
	if c != nil {
		options = append(options, registry.WithCredentials(c))
	}
	source, err := registry.NewOCIRegistry(s.ctx, ref, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.Transfer(s.ctx, source, image.NewStore(ref, image.WithImageLabels(map[string]string{"label": "of the client"})), opts...)
}

// publish makes a bundle of members in a chain and side by side.
func (s *scene) publish() ocispec.Descriptor {
	s.t.Helper()
	layer := func(text string) []byte { return registrytest.TarLayer(map[string]string{"file": text}) }
	deep := s.registry.Image("org/app/a/b", layer("b"), layer("shared"))
	chain := s.registry.Index("org/app/a", registrytest.Member(deep, "b"))
	web := s.registry.Image("org/app/web", layer("web"), layer("shared"))
	index := s.registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(chain, "a"))
	s.registry.Tag("org/app", "v1", index.Digest)
	return index
}

func (s *scene) names() []string {
	s.t.Helper()
	list, err := s.images.List(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		name, _, _ := strings.Cut(strings.TrimPrefix(i.Name, s.registry.Host()+"/"), "@")
		names = append(names, name)
		if i.Labels["label"] != "of the client" {
			s.t.Errorf("labels of %s: %v", i.Name, i.Labels)
		}
	}
	slices.Sort(names)
	return names
}

// noLeases reports whether a lease is left.
func (s *scene) noLeases() {
	s.t.Helper()
	if list, err := s.leases.List(s.ctx); err != nil || len(list) > 0 {
		s.t.Errorf("leases %v, %v", list, err)
	}
}

func TestPull(t *testing.T) {
	s := newScene(t, registrytest.WithTokenAuth())
	s.publish()
	s.registry.Allow("alice", "secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	var mu sync.Mutex
	asked := 0
	alice := func(ref, host string) (registry.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if ref != s.registry.Host()+"/org/app:v1" || host != s.registry.Host() {
			t.Errorf("asked for %s at %s", ref, host)
		}
		return registry.Credentials{Username: "alice", Secret: "secret"}, nil
	}
	if err := s.pull("v1", alice); err != nil {
		t.Fatal(err)
	}
	if got := s.names(); !slices.Equal(got, []string{"org/app/a", "org/app/a/b", "org/app/web", "org/app:v1"}) {
		t.Errorf("records %q", got)
	}
	if asked != 1 {
		t.Errorf("the client was asked %d times", asked)
	}
	s.noLeases()
	s.registry.ResetLog()
	if err := s.pull("v1", alice); err != nil {
		t.Fatal(err)
	}
	if n := s.registry.Count(registrytest.Of(registrytest.KindToken)); n != 1 {
		t.Errorf("%d tokens were asked for when all was there, want the root's", n)
	}
}

// TestPullFails: whatever fails, the error names the child, and nothing is recorded.
func TestPullFails(t *testing.T) {
	for name, fault := range map[string]registrytest.Interceptor{
		"manifest": registrytest.Answer(http.StatusForbidden, nil, registrytest.In("org/app/a/b"), registrytest.Of(registrytest.KindManifest)),
		"layer":    registrytest.Answer(http.StatusNotFound, nil, registrytest.In("org/app/a/b"), registrytest.Of(registrytest.KindBlob)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.publish()
			s.registry.Intercept(fault)
			err := s.pull("v1", nil)
			if err == nil || !strings.Contains(err.Error(), "child "+s.registry.Host()+"/org/app/a/b@sha256:") {
				t.Errorf("got %v", err)
			}
			if got := s.names(); len(got) > 0 {
				t.Errorf("records %q", got)
			}
			s.noLeases()
		})
	}
}

// TestMembersPlatform: only the member that containerd would run.
func TestMembersPlatform(t *testing.T) {
	s := newScene(t)
	amd64, arm64 := ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "arm64"}
	member := func(p ocispec.Platform, name string) ocispec.Descriptor {
		d := registrytest.Member(s.registry.ImageFor(p, "org/app/"+name, registrytest.TarLayer(map[string]string{"file": name})), name)
		d.Platform = &p
		return d
	}
	index := s.registry.Index("org/app", member(amd64, "one"), member(amd64, "two"), member(arm64, "three"))
	s.registry.Tag("org/app", "v1", index.Digest)
	ref := s.registry.Host() + "/org/app:v1"
	for members, want := range map[string][]string{"all": {"one", "two"}, "platform": {"one"}} {
		s.config.Members = members
		s.registry.ResetLog()
		source, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithDefaultScheme("http"))
		if err != nil {
			t.Fatal(err)
		}
		s.ctx = namespaces.WithNamespace(t.Context(), members)
		labels := image.WithImageLabels(map[string]string{"label": "of the client"})
		if err := s.Transfer(s.ctx, source, image.NewStore(ref, image.WithPlatforms(amd64), labels)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range s.names() {
			if member, ok := strings.CutPrefix(name, "org/app/"); ok {
				got = append(got, member)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("members = %s: %q, want %q", members, got, want)
		}
	}
}

// TestBomb: a handful of indexes that name each other many times over are not followed without end.
func TestBomb(t *testing.T) {
	s := newScene(t)
	const depth, width = 6, 8
	path := "org/app" + strings.Repeat("/a", depth)
	next := s.registry.Image(path, registrytest.TarLayer(map[string]string{"file": "1"}))
	for range depth {
		path = strings.TrimSuffix(path, "/a")
		var entries []ocispec.Descriptor
		for i := range width {
			entries = append(entries, registrytest.Member(next, string(rune('a'+i))))
		}
		next = s.registry.Index(path, entries...)
	}
	s.registry.Tag("org/app", "v1", next.Digest)
	if err := s.pull("v1", nil); err == nil || !strings.Contains(err.Error(), "more than 10000 members in one pull") {
		t.Errorf("got %v", err)
	}
}

// TestRetagged: members go when a bundle's name becomes a plain image's.
func TestRetagged(t *testing.T) {
	s := newScene(t)
	s.publish()
	if err := s.pull("v1", nil); err != nil {
		t.Fatal(err)
	}
	s.registry.Tag("org/app", "v1", s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"file": "plain"})).Digest)
	if err := s.pull("v1", nil); err != nil {
		t.Fatal(err)
	}
	list, err := s.images.List(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		for label, value := range i.Labels {
			if strings.HasPrefix(label, "containerd.io/gc.bref.image") && value != "" {
				t.Errorf("%s still belongs to %s", i.Name, value)
			}
		}
	}
}

// TestPullTwice: in CRI's namespace what is there is asked for where it was found the first time.
func TestPullTwice(t *testing.T) {
	s := newScene(t)
	s.ctx = namespaces.WithNamespace(t.Context(), "k8s.io")
	web := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"file": "1"})) // in the parent alone
	index := s.registry.Index("org/app", registrytest.Member(web, "x"), registrytest.Member(web, "y"))
	s.registry.Tag("org/app", "v1", index.Digest)
	for range 2 {
		if err := s.pull("v1", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNotFitting: with no member for the platform the error names them.
func TestNotFitting(t *testing.T) {
	s := newScene(t)
	s390x := ocispec.Platform{OS: "linux", Architecture: "s390x"}
	d := registrytest.Member(s.registry.ImageFor(s390x, "org/app/big", registrytest.TarLayer(map[string]string{"file": "1"})), "big")
	d.Platform = &s390x
	s.registry.Tag("org/app", "v1", s.registry.Index("org/app", d).Digest)
	ref := s.registry.Host() + "/org/app:v1"
	source, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithDefaultScheme("http"))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Transfer(s.ctx, source, image.NewStore(ref, image.WithPlatforms(ocispec.Platform{OS: "linux", Architecture: "amd64"})))
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "/org/app/big") {
		t.Errorf("got %v", err)
	}
}

// TestOff: without settings, and for what is no pull, containerd's service does as it does.
func TestOff(t *testing.T) {
	s := newScene(t)
	s.publish()
	off := s.settings
	s.settings = func() *settings { return nil }
	if err := s.pull("v1", nil); !errdefs.IsNotFound(err) || strings.Contains(err.Error(), "child ") {
		t.Errorf("got %v", err)
	}
	s.settings = off
	if err := s.Transfer(s.ctx, "something", "else"); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v", err)
	}
}
