package gateway

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/gateway/locations"
	"github.com/nestedoci/nested/remotes/nested"
)

func TestBundleIsPulled(t *testing.T) {
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

// TestLostLocationsAreFoundAgain: a gateway that has lost its memory finds content again.
func TestLostLocationsAreFoundAgain(t *testing.T) {
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

// TestLocationsSurvive: what was learnt is there after a restart.
func TestLocationsSurvive(t *testing.T) {
	s := newScene(t, Node)
	s.publish()
	s.pull("v1")
	file := filepath.Join(t.TempDir(), "locations")
	s.start(file)
	s.pull("v1")
	if err := s.locations.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := locations.Open(file, locations.Options{Probe: locations.Probe})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Roots(repository(t, s.registry.Host()+"/org/app"), locations.MaxRoots); len(got) != 1 || !got[0].Strict() && got[0].Fields().Depth != 0 {
		t.Errorf("roots %+v", got)
	}
}

func TestCarrierIsServedAsItsIndex(t *testing.T) {
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
	plain, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{web}})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{plain, []byte("{}"), []byte("no manifest")} {
		if got := s.get("manifests", s.registry.PutBlob("org/app", ocispec.MediaTypeImageIndex, data).Digest); got.status != http.StatusNotFound {
			t.Errorf("a blob that is no nested index, as a manifest: %+v", got)
		}
	}
	for _, encoding := range []string{"", "gzip"} { // encoded, plain content is passed on as it is
		another := digest.FromString("another" + encoding)
		s.registry.PutBlobAs("org/app", another, data)
		s.registry.ResetIntercepts()
		s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if encoding != "" && strings.Contains(req.URL.Path, "/blobs/") {
				w.Header().Set("Content-Encoding", encoding)
			}
			return false
		})
		got := s.get("manifests", another)
		if places := s.locations.Places(repository(t, s.registry.Host()+"/org/app"), another); got.status != http.StatusNotFound || len(places) > 0 {
			t.Errorf("a nested index under the digest of another blob, encoding %q: %+v, learnt %v", encoding, got, places)
		}
	}
}

// TestPlainPullMakesTheSameRequests: for a plain image the registry sees what it would see without the
// gateway.
func TestPlainPullMakesTheSameRequests(t *testing.T) {
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

func TestWhatIsNoPullIsRefused(t *testing.T) {
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
		if got.status != test.status || !strings.Contains(got.body, `"errors"`) || got.header.Get("WWW-Authenticate") != "" || got.header.Get("X-Content-Type-Options") != "nosniff" {
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

func TestRangeIsPassedOn(t *testing.T) {
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

// TestFaultsOfTheRegistry: what a registry answers, and what the client is told.
func TestFaultsOfTheRegistry(t *testing.T) {
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
			s.start(filepath.Join(t.TempDir(), "locations"))
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

// TestRedirectIsFollowedWithoutCredentials: a redirect that is not to be handed on is followed here,
// without the registry's credentials.
func TestRedirectIsFollowedWithoutCredentials(t *testing.T) {
	s := newScene(t, Node)
	store := registrytest.New()
	t.Cleanup(store.Close)
	s.options.HostsDir = hostsDir(t, s.registry.Host())
	s.start(filepath.Join(t.TempDir(), "locations"))
	blob := s.registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
	store.PutBlob("org/app", "application/octet-stream", []byte("content"))
	s.registry.Intercept(registrytest.Redirect(store.URL(), registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
	if got := s.get("blobs", blob.Digest); got.status != http.StatusOK || got.body != "content" {
		t.Errorf("%+v", got)
	}
	if store.Count() != 1 || store.Count(registrytest.WithCredentials) != 0 {
		t.Errorf("the store was asked %v", store.Log())
	}
}
