package gateway

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway/locations"
)

// scene is a gateway before a registry in which each repository has a user of
// its own.
type scene struct {
	t            *testing.T
	registry     *registrytest.Registry
	locations    *locations.Cache
	file         string            // of the location cache
	remember     locations.Options // how the location cache does
	server       *httptest.Server
	options      Options
	user         [2]string              // shown to the gateway, in mode Pod
	registryName string                 // what ns says; empty: the registry's host
	had          map[digest.Digest]bool // what fetch leaves out, as containerd does; nil: nothing
}

const secret = "canary"

func newScene(t *testing.T, mode Mode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{t: t, registry: registrytest.New(append([]registrytest.Option{registrytest.WithTokenAuth()}, options...)...)}
	t.Cleanup(s.registry.Close)
	s.options = Options{Mode: mode, Registries: []string{s.registry.Host()}, Credentials: perRepository(t, s.registry), SearchRequests: 100, Prefetch: 64}
	s.start(filepath.Join(t.TempDir(), "locations"))
	t.Cleanup(s.checkLedger)
	return s
}

// checkLedger fails when a password came to anything but the registry's token service, a token anywhere else than to
// the repository that it is for, or a request for other repositories.
func (s *scene) checkLedger() {
	s.t.Helper()
	l := registrytest.NewLedger("org", "secret/app")
	l.Ask(s.registry)
	for _, password := range []string{secret, "all-secret", "no-secret", "plain-secret", "other-secret"} {
		l.Show(password, s.registry, registrytest.Of(registrytest.KindToken))
	}
	for _, breach := range l.Breaches() {
		s.t.Error(breach)
	}
	for _, shown := range l.Shown(logged.String()) {
		s.t.Errorf("the log shows %s", shown)
	}
}

// perRepository is a Docker configuration with a user for each repository.
func perRepository(t *testing.T, r *registrytest.Registry) auth.Source {
	t.Helper()
	auths := map[string]any{}
	for _, name := range []string{"org/app", "org/app/web", "org/app/worker", "org/app/a", "org/app/a/b"} {
		r.Allow("user of "+name, secret, name)
		auths[r.Host()+"/"+name] = map[string]string{"username": "user of " + name, "password": secret}
	}
	config, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewStores(auth.StoresOptions{Inline: auth.Secret(config)})
}

// start starts a gateway with the location cache in a file.
func (s *scene) start(file string) {
	s.t.Helper()
	var err error
	if s.locations, err = locations.Open(file, s.remember); err != nil {
		s.t.Fatal(err)
	}
	s.file, s.options.Locations = file, s.locations
	g := New(s.options)
	s.server = httptest.NewServer(g)
	server, cache := s.server, s.locations
	s.t.Cleanup(func() {
		server.Close()
		g.Close()
		_ = cache.Close()
		s.checkMemory(g)
	})
}

// checkMemory fails when something was taken and not given back.
func (s *scene) checkMemory(g *Gateway) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); g.memory.Used() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // what is fetched ahead ends by itself
			s.t.Fatalf("%d bytes were not given back", g.memory.Used())
		}
	}
}

// hostsDir describes a registry on loopback as one that speaks http, where
// containerd would try https first and trust any certificate.
func hostsDir(t *testing.T, registry string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, registry), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, registry, "hosts.toml"), []byte("server = \"http://"+registry+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (s *scene) do(method, path string, header ...string) reply {
	s.t.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path+separator+"ns="+cmp.Or(s.registryName, s.registry.Host()), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if s.user[0] != "" {
		req.SetBasicAuth(s.user[0], s.user[1])
	}
	client := *s.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func (s *scene) get(kind string, d digest.Digest) reply {
	s.t.Helper()
	return s.do(http.MethodGet, "/v2/org/app/"+kind+"/"+string(d))
}

// pull does what containerd does for a tag: HEAD, then everything by digest
// from the one repository. It returns the digest that the tag resolved to.
func (s *scene) pull(tag string) digest.Digest {
	s.t.Helper()
	head := s.do(http.MethodHead, "/v2/org/app/manifests/"+tag)
	if head.status != http.StatusOK {
		s.t.Fatalf("HEAD of %s: %+v", tag, head)
	}
	root := digest.Digest(head.header.Get("Docker-Content-Digest"))
	s.fetch(ocispec.Descriptor{MediaType: head.header.Get("Content-Type"), Digest: root})
	return root
}

func (s *scene) fetch(d ocispec.Descriptor) {
	s.t.Helper()
	if s.had[d.Digest] {
		return
	}
	if s.had != nil {
		s.had[d.Digest] = true
	}
	kind := "blobs"
	if strings.Contains(d.MediaType, "image.index") || strings.Contains(d.MediaType, "image.manifest") {
		kind = "manifests"
	}
	got := s.get(kind, d.Digest)
	if got.status != http.StatusOK || digest.FromString(got.body) != d.Digest {
		s.t.Fatalf("%s %s: %d %.300s", kind, d.Digest, got.status, got.body)
	}
	if kind == "blobs" {
		return
	}
	for _, child := range s.children(got.body) {
		s.fetch(child)
	}
}

// children are the descriptors in a document.
func (s *scene) children(body string) []ocispec.Descriptor {
	s.t.Helper()
	var doc struct {
		Manifests, Layers []ocispec.Descriptor
		Config            *ocispec.Descriptor
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		s.t.Fatal(err)
	}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	return append(doc.Manifests, doc.Layers...)
}

// publish puts a bundle of two images, one below an index of its own.
func (s *scene) publish() ocispec.Descriptor {
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	deep := s.registry.Index("org/app/a", registrytest.Member(s.registry.Image("org/app/a/b", registrytest.TarLayer(map[string]string{"b": "1"})), "b"))
	d := s.registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(deep, "a"))
	s.registry.Tag("org/app", "v1", d.Digest)
	return d
}

func (s *scene) line(q registrytest.Request) string {
	return q.Method + " " + q.Repository + " " + string(q.Kind) + " " + q.User
}
