package find

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

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

func TestBundleIsPulled(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	root := s.Publish()
	if got := s.Pull("v1"); got != root.Digest {
		t.Errorf("resolved to %s, want %s", got, root.Digest)
	}
	for _, q := range s.Registry.Log(registrytest.WithCredentials) {
		if q.Kind != registrytest.KindToken && q.User != "user of "+q.Repository {
			t.Errorf("%s", q)
		}
	}
	tokens := s.Registry.Log(registrytest.Of(registrytest.KindToken))
	if len(tokens) != 4 {
		t.Errorf("%d tokens for 4 repositories: %v", len(tokens), tokens)
	}
	if n := s.Registry.Count(registrytest.In("org/app"), registrytest.Of(registrytest.KindBlob)); n != 0 {
		t.Errorf("%d blobs were asked of the parent", n)
	}
}

// TestLostLocationsAreFoundAgain: a gateway that has lost its memory finds content again.
func TestLostLocationsAreFoundAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	layer := s.Registry.PutBlob("org/app/worker", "application/octet-stream", []byte("a layer"))
	member := s.Registry.Artifact("org/app/worker", "application/x-test", layer)
	index := s.Registry.Index("org/app", registrytest.Member(member, "worker"))
	s.Registry.Tag("org/app", "v2", index.Digest)
	if got := s.Get("blobs", layer.Digest); got.Status != http.StatusOK || got.Body != "a layer" {
		t.Errorf("%+v", got)
	}
	missing := digest.FromString("nowhere")
	if got := s.Get("blobs", missing); got.Status != http.StatusNotFound || !strings.Contains(got.Body, "BLOB_UNKNOWN") {
		t.Errorf("%+v", got)
	}
	// With too few requests it says so, and the next try goes on.
	s.options.SearchRequests = 3
	s.start(filepath.Join(t.TempDir(), "other"))
	got := s.Get("blobs", layer.Digest)
	if got.Status != http.StatusServiceUnavailable || !strings.Contains(got.Body, "try again") {
		t.Errorf("%+v", got)
	}
	for range 5 {
		got = s.Get("blobs", layer.Digest)
	}
	if got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	// What is nowhere is not searched for again and again.
	s.options.SearchRequests = 100
	s.start(filepath.Join(t.TempDir(), "third"))
	s.Get("blobs", missing)
	s.Registry.ResetLog()
	if got := s.Get("blobs", missing); got.Status != http.StatusNotFound || s.Registry.Count() != 1 {
		t.Errorf("%+v, %v", got, s.Registry.Log())
	}
	s.options.SearchRequests = 0
	s.start(filepath.Join(t.TempDir(), "fourth"))
	if got := s.Get("blobs", layer.Digest); got.Status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
}

// TestLocationsSurvive: what was learnt is there after a restart.
func TestLocationsSurvive(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	s.Pull("v1")
	file := filepath.Join(t.TempDir(), "locations")
	s.start(file)
	s.Pull("v1")
	if err := s.Locations.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := locations.Open(file, locations.Options{Probe: locations.Probe})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Roots(s.repository("org/app"), locations.MaxRoots); len(got) != 1 || !got[0].Strict() && got[0].Fields().Depth != 0 {
		t.Errorf("roots %+v", got)
	}
}

func TestCarrierIsServedAsItsIndex(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"}))
	index := s.Registry.Index("org/elsewhere", registrytest.Member(web, "web"))
	body := s.Do(http.MethodGet, "/v2/org/elsewhere/manifests/"+string(index.Digest))
	if body.Status == http.StatusOK {
		t.Fatal("the node has no credential for org/elsewhere")
	}
	data, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{registrytest.Member(web, "web")}})
	if err != nil {
		t.Fatal(err)
	}
	blob := s.Registry.PutBlob("org/app", ocispec.MediaTypeImageIndex, data)
	carrier := s.Registry.Artifact("org/app", nested.CarrierType, blob)
	s.Registry.Tag("org/app", "carried", carrier.Digest)
	if got := s.Pull("carried"); got != blob.Digest {
		t.Errorf("resolved to %s, want the index %s", got, blob.Digest)
	}
	s.Registry.ResetLog()
	if got := s.Pull("carried"); got != blob.Digest || s.Registry.Count(registrytest.Method(http.MethodHead)) != 1 {
		t.Errorf("the second time: %s, %v", got, s.Registry.Log())
	}
	s.start(filepath.Join(t.TempDir(), "cold"))
	if got := s.Get("manifests", blob.Digest); got.Status != http.StatusOK || got.Body != string(data) {
		t.Errorf("by digest: %+v", got)
	}
	plain, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{web}})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{plain, []byte("{}"), []byte("no manifest")} {
		if got := s.Get("manifests", s.Registry.PutBlob("org/app", ocispec.MediaTypeImageIndex, data).Digest); got.Status != http.StatusNotFound {
			t.Errorf("a blob that is no nested index, as a manifest: %+v", got)
		}
	}
	for _, encoding := range []string{"", "gzip"} { // encoded, plain content is passed on as it is
		another := digest.FromString("another" + encoding)
		s.Registry.PutBlobAs("org/app", another, data)
		s.Registry.ResetIntercepts()
		s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if encoding != "" && strings.Contains(req.URL.Path, "/blobs/") {
				w.Header().Set("Content-Encoding", encoding)
			}
			return false
		})
		got := s.Get("manifests", another)
		if places := s.Locations.Places(s.repository("org/app"), another); got.Status != http.StatusNotFound || len(places) > 0 {
			t.Errorf("a nested index under the digest of another blob, encoding %q: %+v, learnt %v", encoding, got, places)
		}
	}
}

// TestPlainPullMakesTheSameRequests: for a plain image the registry sees what it would see without the
// gateway.
func TestPlainPullMakesTheSameRequests(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}), registrytest.TarLayer(map[string]string{"b": "1"}))
	s.Registry.Tag("org/app", "plain", image.Digest)
	s.Pull("plain")
	var got []string
	for _, q := range s.Registry.Log(func(q registrytest.Request) bool { return q.Status == http.StatusOK }) {
		got = append(got, s.Line(q))
	}
	slices.Sort(got)
	u := " user of org/app"
	want := []string{"GET org/app blob" + u, "GET org/app blob" + u, "GET org/app blob" + u, "GET org/app manifest" + u, "HEAD org/app manifest" + u, "POST  token" + u}
	if !slices.Equal(got, want) {
		t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRangeIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("0123456789"))
	for header, want := range map[string]string{"bytes=1-3": "123", "bytes=-5": "56789", "bytes=5-": "56789"} {
		if got := s.Do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), "Range", header); got.Status != http.StatusPartialContent || got.Body != want {
			t.Errorf("%s: %+v", header, got)
		}
	}
	if got := s.Do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), "Range", "bytes=10-"); got.Status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("%+v", got)
	}
}

// TestFaultsOfTheRegistry: what a registry answers, and what the client is told.
func TestFaultsOfTheRegistry(t *testing.T) {
	t.Parallel()
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
		}, http.StatusServiceUnavailable, "asking to wait for 24h0m0s"},
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
			s := newScene(t, node)
			s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
			s.start(filepath.Join(t.TempDir(), "locations"))
			blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
			s.Registry.Intercept(test.fault(s.Registry))
			began := time.Now()
			got := s.Get("blobs", blob.Digest)
			if got.Status != test.status || !strings.Contains(got.Body, test.says) {
				t.Errorf("%+v, want status %d and %q", got, test.status, test.says)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.status == http.StatusOK && got.Body != "content" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestRedirectIsFollowedWithoutCredentials: a redirect that is not to be handed on is followed here,
// without the registry's credentials.
func TestRedirectIsFollowedWithoutCredentials(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	store := clienttest.NewRegistry(t)
	s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	s.start(filepath.Join(t.TempDir(), "locations"))
	blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
	store.PutBlob("org/app", "application/octet-stream", []byte("content"))
	s.Registry.Intercept(registrytest.Redirect(store.URL(), registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
	if got := s.Get("blobs", blob.Digest); got.Status != http.StatusOK || got.Body != "content" {
		t.Errorf("%+v", got)
	}
	if store.Count() != 1 || store.Count(registrytest.WithCredentials) != 0 {
		t.Errorf("the store was asked %v", store.Log())
	}
}
