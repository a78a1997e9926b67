package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// scene is a gateway before a registry in which each repository has a user of
// its own.
type scene struct {
	t        *testing.T
	registry *registrytest.Registry
	trail    *Trail
	server   *httptest.Server
	options  Options
	user     [2]string              // shown to the gateway, in mode Pod
	had      map[digest.Digest]bool // what fetch leaves out, as containerd does; nil: nothing
}

const secret = "canary"

func newScene(t *testing.T, mode Mode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{t: t, registry: registrytest.New(append([]registrytest.Option{registrytest.WithTokenAuth()}, options...)...)}
	t.Cleanup(s.registry.Close)
	s.options = Options{Mode: mode, Registries: []string{s.registry.Host()}, Credentials: perRepository(t, s.registry), SearchRequests: 100, Prefetch: 64}
	s.start(filepath.Join(t.TempDir(), "trail"))
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

// start starts a gateway with the trail in a file.
func (s *scene) start(file string) {
	s.t.Helper()
	var err error
	if s.trail, err = OpenTrail(file, TrailOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.options.Trail = s.trail
	g := New(s.options)
	s.server = httptest.NewServer(g)
	server, trail := s.server, s.trail
	s.t.Cleanup(func() {
		server.Close()
		g.Close()
		_ = trail.Close()
	})
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
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path+separator+"ns="+s.registry.Host(), nil)
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

func TestBundle(t *testing.T) {
	s := newScene(t, Node)
	root := s.publish()
	if got := s.pull("v1"); got != root.Digest {
		t.Errorf("resolved to %s, want %s", got, root.Digest)
	}
	for _, q := range s.registry.Log(registrytest.WithCredentials) {
		if q.Kind != registrytest.KindToken && q.User != "user of "+q.Repository {
			t.Errorf("%s", q)
		}
	}
	tokens := s.registry.Log(registrytest.Of(registrytest.KindToken))
	if len(tokens) != 4 {
		t.Errorf("%d tokens for 4 repositories: %v", len(tokens), tokens)
	}
	if n := s.registry.Count(registrytest.In("org/app"), registrytest.Of(registrytest.KindBlob)); n != 0 {
		t.Errorf("%d blobs were asked of the parent", n)
	}
}

// TestColdTrail: a gateway that has lost its memory finds content again.
func TestColdTrail(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	layer := s.registry.PutBlob("org/app/worker", "application/octet-stream", []byte("a layer"))
	member := s.registry.Artifact("org/app/worker", "application/x-test", layer)
	index := s.registry.Index("org/app", registrytest.Member(member, "worker"))
	s.registry.Tag("org/app", "v2", index.Digest)
	if got := s.get("blobs", layer.Digest); got.status != http.StatusOK || got.body != "a layer" {
		t.Errorf("%+v", got)
	}
	missing := digest.FromString("nowhere")
	if got := s.get("blobs", missing); got.status != http.StatusNotFound || !strings.Contains(got.body, "BLOB_UNKNOWN") {
		t.Errorf("%+v", got)
	}
	// With too few requests it says so, and the next try goes on.
	s.options.SearchRequests = 3
	s.start(filepath.Join(t.TempDir(), "other"))
	got := s.get("blobs", layer.Digest)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "try again") {
		t.Errorf("%+v", got)
	}
	for range 5 {
		got = s.get("blobs", layer.Digest)
	}
	if got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	// What is nowhere is not searched for again and again.
	s.options.SearchRequests = 100
	s.start(filepath.Join(t.TempDir(), "third"))
	s.get("blobs", missing)
	s.registry.ResetLog()
	if got := s.get("blobs", missing); got.status != http.StatusNotFound || s.registry.Count() != 1 {
		t.Errorf("%+v, %v", got, s.registry.Log())
	}
	s.options.SearchRequests = 0
	s.start(filepath.Join(t.TempDir(), "fourth"))
	if got := s.get("blobs", layer.Digest); got.status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
}

// TestTrailSurvives: what was learnt is there after a restart.
func TestTrailSurvives(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	s.pull("v1")
	file := filepath.Join(t.TempDir(), "trail")
	s.start(file)
	s.pull("v1")
	if err := s.trail.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenTrail(file, TrailOptions{Probe: ProbeTrail})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Roots(repository(t, s.registry.Host()+"/org/app")); len(got) != 1 || !got[0].Strict && got[0].Depth != 0 {
		t.Errorf("roots %+v", got)
	}
}

func TestCarrier(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"}))
	index := s.registry.Index("org/elsewhere", registrytest.Member(web, "web"))
	body := s.do(http.MethodGet, "/v2/org/elsewhere/manifests/"+string(index.Digest))
	if body.status == http.StatusOK {
		t.Fatal("the node has no credential for org/elsewhere")
	}
	data, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{registrytest.Member(web, "web")}})
	if err != nil {
		t.Fatal(err)
	}
	blob := s.registry.PutBlob("org/app", ocispec.MediaTypeImageIndex, data)
	carrier := s.registry.Artifact("org/app", nested.CarrierType, blob)
	s.registry.Tag("org/app", "carried", carrier.Digest)
	if got := s.pull("carried"); got != blob.Digest {
		t.Errorf("resolved to %s, want the index %s", got, blob.Digest)
	}
	s.registry.ResetLog()
	if got := s.pull("carried"); got != blob.Digest || s.registry.Count(registrytest.Method(http.MethodHead)) != 1 {
		t.Errorf("the second time: %s, %v", got, s.registry.Log())
	}
	s.start(filepath.Join(t.TempDir(), "cold"))
	if got := s.get("manifests", blob.Digest); got.status != http.StatusOK || got.body != string(data) {
		t.Errorf("by digest: %+v", got)
	}
}

// TestPlain: for a plain image the registry sees what it would see without the
// gateway.
func TestPlain(t *testing.T) {
	s := newScene(t, Node)
	image := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}), registrytest.TarLayer(map[string]string{"b": "1"}))
	s.registry.Tag("org/app", "plain", image.Digest)
	s.pull("plain")
	var got []string
	for _, q := range s.registry.Log(func(q registrytest.Request) bool { return q.Status == http.StatusOK }) {
		got = append(got, s.line(q))
	}
	slices.Sort(got)
	u := " user of org/app"
	want := []string{"GET org/app blob" + u, "GET org/app blob" + u, "GET org/app blob" + u, "GET org/app manifest" + u, "HEAD org/app manifest" + u, "POST  token" + u}
	if !slices.Equal(got, want) {
		t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRefused(t *testing.T) {
	s := newScene(t, Node)
	s.options.Allow = []Pattern{{registry: s.registry.Host(), components: []string{"org", "*"}}}
	s.start(filepath.Join(t.TempDir(), "allow"))
	d := string(digest.FromString("x"))
	for _, test := range []struct {
		method, path string
		status       int
		header       []string
	}{
		{"POST", "/v2/org/app/blobs/uploads/", http.StatusMethodNotAllowed, nil},
		{"DELETE", "/v2/org/app/manifests/v1", http.StatusMethodNotAllowed, nil},
		{"GET", "/v2/_catalog?n=99999999999", http.StatusNotFound, nil},
		{"GET", "/v2/org%2fapp/manifests/v1", http.StatusBadRequest, nil},
		{"GET", "//v2//", http.StatusNotFound, nil},
		{"GET", "/v2/org/app/manifests/../../x", http.StatusNotFound, nil},
		{"GET", "/evil/v2/org/app/manifests/v1", http.StatusNotFound, nil},
		{"GET", "/v2/org/app/blobs/sha256:ABC", http.StatusBadRequest, nil},
		{"GET", "/v2/org/app/blobs/md5:00", http.StatusBadRequest, nil},
		{"GET", "/v2/org/app/blobs/v1", http.StatusBadRequest, nil},
		{"GET", "/v2/org/app/manifests/v1?ns=" + s.registry.Host(), http.StatusBadRequest, nil},
		{"GET", "/v2/org/app/manifests/v1?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1", http.StatusBadRequest, nil},
		{"GET", "/v2/other/manifests/v1", http.StatusForbidden, nil},
		{"GET", "/v2/org/app/blobs/" + d, http.StatusForbidden, []string{"Origin", "http://evil.test"}},
		{"GET", "/v2/org/app/blobs/" + d, http.StatusForbidden, []string{"Sec-Fetch-Site", "cross-site"}},
	} {
		got := s.do(test.method, test.path, test.header...)
		if got.status != test.status || !strings.Contains(got.body, `"errors"`) || got.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s %s: %+v, want status %d", test.method, test.path, got, test.status)
		}
	}
	if log := s.registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
}

// TestNodeNeverChallenges: CRI gives a pod's secrets to who answers 401.
func TestNodeNeverChallenges(t *testing.T) {
	s := newScene(t, Node)
	s.registry.Index("secret/app")
	got := s.do(http.MethodGet, "/v2/secret/app/manifests/v1")
	if got.status != http.StatusForbidden || got.header.Get("WWW-Authenticate") != "" || !strings.Contains(got.body, "secret/app") {
		t.Errorf("%+v", got)
	}
}

// TestPod: the caller's own rights count, for every request and for every look
// into the trail.
func TestPod(t *testing.T) {
	s := newScene(t, Pod)
	root := s.publish()
	for _, name := range []string{"org/app", "org/app/web", "org/app/a", "org/app/a/b"} {
		s.registry.Allow("all", "all-secret", name)
	}
	if got := s.do(http.MethodHead, "/v2/org/app/manifests/v1"); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("without credentials: %+v", got)
	}
	s.user = [2]string{"all", "all-secret"}
	s.pull("v1")

	s.registry.Allow("nobody", "no-secret")
	s.user = [2]string{"nobody", "no-secret"}
	s.get("blobs", root.Digest) // the token is there, from now on
	var seen []string
	for _, d := range []digest.Digest{root.Digest, digest.FromString("missing")} {
		s.registry.ResetLog()
		got := s.get("blobs", d)
		if got.status != http.StatusForbidden {
			t.Errorf("%+v", got)
		}
		for _, q := range s.registry.Log() {
			got.body += "\n" + s.line(q)
		}
		seen = append(seen, got.body)
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], "HEAD org/app manifest") {
		t.Errorf("existing and missing content differ:\n%s\n%s", seen[0], seen[1])
	}
	s.user = [2]string{"all", "wrong"}
	if got := s.get("manifests", root.Digest); got.status != http.StatusUnauthorized {
		t.Errorf("with a wrong password: %+v", got)
	}
}

// TestPodIdentityToken: a caller whose user is <token> shows an identity token,
// which is for the token endpoint, for the parent and for the members.
func TestPodIdentityToken(t *testing.T) {
	s := newScene(t, Pod)
	s.publish()
	s.registry.AllowIdentityToken("refresh", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.user = [2]string{"<token>", "refresh"}
	s.pull("v1")
	s.user = [2]string{"<token>", "another"}
	if got := s.do(http.MethodHead, "/v2/org/app/manifests/v1"); got.status != http.StatusUnauthorized {
		t.Errorf("with another: %+v", got)
	}
	for _, q := range s.registry.Log(registrytest.Of(registrytest.KindToken), registrytest.WithCredentials) {
		t.Errorf("an identity token is no password: %s", q)
	}
}

// TestPodStrangers: when one pod's pull has made the gateway know all of a
// bundle, callers without a credential, with one for nothing or for the parent
// alone still get no more than the registry gives them itself.
func TestPodStrangers(t *testing.T) {
	s := newScene(t, Pod)
	root := s.publish()
	s.registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.registry.Allow("nobody", "no-secret")
	s.registry.Allow("parent", "parent-secret", "org/app")
	s.user = [2]string{"all", "all-secret"}
	s.pull("v1")
	for _, user := range [][2]string{{}, {"nobody", "no-secret"}, {"all", "wrong"}, {"all"}, {"<token>", "all-secret"}, {"parent", "parent-secret"}} {
		s.user = user
		for _, path := range s.pathsOf(root) {
			may := user[0] == "parent" && slices.Contains([]string{"manifests/v1", "manifests/" + string(root.Digest), "referrers/" + string(root.Digest)}, path)
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				if got := s.do(method, "/v2/org/app/"+path); (got.status == http.StatusOK) != may {
					t.Errorf("%s: %s %s: %d %s", user[0], method, path, got.status, got.body)
				}
			}
		}
	}
}

// pathsOf are the paths at which all content of a bundle might be asked for.
func (s *scene) pathsOf(root ocispec.Descriptor) []string {
	s.t.Helper()
	paths := []string{"manifests/v1"}
	var add func(d ocispec.Descriptor)
	add = func(d ocispec.Descriptor) {
		paths = append(paths, "manifests/"+string(d.Digest), "blobs/"+string(d.Digest), "referrers/"+string(d.Digest))
		var document struct {
			Manifests, Layers []ocispec.Descriptor
			Config            ocispec.Descriptor
		}
		if strings.Contains(d.MediaType, ".image.index") || strings.Contains(d.MediaType, ".image.manifest") {
			if err := json.Unmarshal([]byte(s.get("manifests", d.Digest).body), &document); err != nil {
				s.t.Fatal(err)
			}
		}
		for _, child := range append(document.Manifests, document.Layers...) {
			add(child)
		}
		if document.Config.Digest != "" {
			add(document.Config)
		}
	}
	user := s.user
	s.user = [2]string{"all", "all-secret"}
	add(root)
	s.user = user
	return paths
}

func TestRange(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	blob := s.registry.PutBlob("org/app", "application/octet-stream", []byte("0123456789"))
	for header, want := range map[string]string{"bytes=1-3": "123", "bytes=-5": "56789", "bytes=5-": "56789"} {
		if got := s.do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), "Range", header); got.status != http.StatusPartialContent || got.body != want {
			t.Errorf("%s: %+v", header, got)
		}
	}
	if got := s.do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), "Range", "bytes=10-"); got.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("%+v", got)
	}
}

// TestFaults: what a registry answers, and what the client is told.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault  func(*registrytest.Registry) registrytest.Interceptor
		status int
		says   string
	}{
		"503 twice": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Answer(503, nil, registrytest.First(2, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
		}, http.StatusOK, ""},
		"long wait": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Answer(429, http.Header{"Retry-After": {"86400"}}, registrytest.Of(registrytest.KindBlob))
		}, http.StatusServiceUnavailable, "it asks to wait for 24h0m0s"},
		"reset once": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Reset(registrytest.First(1, registrytest.Of(registrytest.KindBlob)))
		}, http.StatusOK, ""},
		"teapot": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Answer(418, nil, registrytest.Of(registrytest.KindBlob))
		}, http.StatusTeapot, "418"},
		"safe redirect": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Redirect("https://cdn.test", registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))
		}, http.StatusTemporaryRedirect, ""},
		"redirect to http": {func(*registrytest.Registry) registrytest.Interceptor {
			return registrytest.Redirect("ftp://cdn.test", registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))
		}, http.StatusBadGateway, "refused to follow a redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			s.options.HostsDir = hostsDir(t, s.registry.Host())
			s.start(filepath.Join(t.TempDir(), "trail"))
			blob := s.registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
			s.registry.Intercept(test.fault(s.registry))
			began := time.Now()
			got := s.get("blobs", blob.Digest)
			if got.status != test.status || !strings.Contains(got.body, test.says) {
				t.Errorf("%+v, want status %d and %q", got, test.status, test.says)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.status == http.StatusOK && got.body != "content" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestPassable: which redirects a client may be left to follow.
func TestPassable(t *testing.T) {
	h := nested.Host{}
	h.Host = "reg.test:5000"
	for target, want := range map[string]bool{
		"https://cdn.test/x?signature=1": true,
		"https://a.b.cdn-1.test:8443/x":  true,
		"http://cdn.test/x":              false,
		"ftp://cdn.test/x":               false,
		"https://user@cdn.test/x":        false,
		"https://reg.test/x":             false,
		"https://REG.test:1/x":           false,
		"https://localhost/x":            false,
		"https://a.localhost/x":          false,
		"https://127.0.0.1/x":            false,
		"https://[::1]/x":                false,
		"https://2130706433/x":           false,
		"https://0x7f.1/x":               false,
		"https://8.8.8.8/x":              false,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := passable(u, h); got != want {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
}

// TestFollowedRedirect: a redirect that is not to be handed on is followed here,
// without the registry's credentials.
func TestFollowedRedirect(t *testing.T) {
	for name, follow := range map[string]bool{"not safe to pass": false, "by the setting": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			store := registrytest.New()
			t.Cleanup(store.Close)
			s.options.HostsDir = hostsDir(t, s.registry.Host())
			s.options.FollowRedirects = follow
			s.start(filepath.Join(t.TempDir(), "trail"))
			blob := s.registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
			store.PutBlob("org/app", "application/octet-stream", []byte("content"))
			s.registry.Intercept(registrytest.Redirect(store.URL(), registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
			if got := s.get("blobs", blob.Digest); got.status != http.StatusOK || got.body != "content" {
				t.Errorf("%+v", got)
			}
			if store.Count() != 1 || store.Count(registrytest.WithCredentials) != 0 {
				t.Errorf("the store was asked %v", store.Log())
			}
		})
	}
}
