package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/gateway/locations"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestBrokenSiblingHidesNoOther: an invalid index, or a child whose registry fails, does
// not keep others from being found.
func TestBrokenSiblingHidesNoOther(t *testing.T) {
	s := newScene(t, Node)
	layer := s.Registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
	web := s.Registry.Artifact("org/app/web", "application/x-test", layer)
	good := s.Registry.Index("org/app", registrytest.Member(s.Registry.Image("org/app/a"), "a"), registrytest.Member(web, "web"))
	bad := s.Registry.Index("org/app", registrytest.Member(web, "../victim"))
	s.Registry.Tag("org/app", "v1", good.Digest)
	s.Registry.Tag("org/app", "v2", bad.Digest)
	s.Registry.Intercept(registrytest.Answer(http.StatusTeapot, nil, registrytest.In("org/app/a")))
	if got := s.Get("manifests", bad.Digest); got.Status != http.StatusBadRequest {
		t.Errorf("the invalid index: %+v", got)
	}
	if got := s.Get("blobs", layer.Digest); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if got := s.Get("blobs", digest.FromString("missing")); got.Status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
}

// TestSharedLayerIsFoundInThePlainImage: what a plain image has in common with a member is found
// where the plain image is, by whoever may read that.
func TestSharedLayerIsFoundInThePlainImage(t *testing.T) {
	for name, mode := range map[string]Mode{"node": Node, "pod": Pod} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, mode)
			layer := registrytest.TarLayer(map[string]string{"base": "1"})
			web := s.Registry.Image("org/app/web", layer)
			bundle := s.Registry.Index("org/app", registrytest.Member(web, "web"))
			image := s.Registry.Image("org/app", layer, registrytest.TarLayer(map[string]string{"own": "1"}))
			s.Registry.Tag("org/app", "bundle", bundle.Digest)
			s.Registry.Tag("org/app", "plain", image.Digest)
			s.Registry.Allow("all", "all-secret", "org/app", "org/app/web")
			s.Registry.Allow("plain", "plain-secret", "org/app")
			s.User = [2]string{"all", "all-secret"}
			if mode == Node {
				s.User = [2]string{}
			}
			s.Pull("bundle")
			if mode == Pod {
				s.User = [2]string{"plain", "plain-secret"}
			}
			s.Registry.ResetLog()
			s.Pull("plain")
			if n := s.Registry.Count(registrytest.In("org/app/web")); n > 0 {
				t.Errorf("the member's repository was asked %d times", n)
			}
		})
	}
}

// TestReferrerSaysNothingOfOthers: who may write to one child cannot say where
// the content of another is.
func TestReferrerSaysNothingOfOthers(t *testing.T) {
	s := newScene(t, Node)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	worker := s.Registry.Image("org/app/worker", registrytest.TarLayer(map[string]string{"worker": "1"}))
	s.Registry.Tag("org/app", "v1", s.Registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(worker, "worker")).Digest)
	s.Pull("v1")
	lie := web
	lie.Size++
	poison := s.Registry.Index("org/app/worker", lie)
	tag := strings.Replace(worker.Digest.String(), ":", "-", 1)
	s.Registry.Tag("org/app/worker", tag, poison.Digest)
	s.Do(http.MethodGet, "/v2/org/app/manifests/"+tag)
	s.wantAll(append(s.Children(s.Registry.Body(web.Digest)), web)...) // by a client that has the index
	s.Pull("v1")
	if roots := s.locations.Roots(repository(t, s.Registry.Host()+"/org/app"), locations.MaxRoots); len(roots) != 1 {
		t.Errorf("roots %v", roots)
	}
}

// TestCallerWithoutRightsLearnsNothing: a registry that answers 404 to who may not read does
// not make the gateway tell more.
func TestCallerWithoutRightsLearnsNothing(t *testing.T) {
	s := newScene(t, Pod)
	s.Publish()
	layer := s.Registry.PutBlob("org/app/worker", "application/octet-stream", []byte("a layer"))
	index := s.Registry.Index("org/app", registrytest.Member(s.Registry.Artifact("org/app/worker", "application/x-test", layer), "worker"))
	s.Registry.Tag("org/app", "v2", index.Digest)
	s.Registry.Allow("all", "all-secret", "org/app", "org/app/worker", "org/app/web", "org/app/a", "org/app/a/b")
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v2")
	s.Registry.Allow("nobody", "no-secret")
	s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); q.Repository == "" || q.Authorization == "" {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	s.User = [2]string{"nobody", "no-secret"}
	s.Get("blobs", digest.FromString("x")) // the token is there, from now on
	var seen []string
	for _, d := range []digest.Digest{layer.Digest, digest.FromString("missing")} {
		s.Registry.ResetLog()
		got := s.Get("blobs", d)
		got.Header.Del("Date")
		text := strings.ReplaceAll(fmt.Sprint(got.Status, got.Header, got.Body), d.String(), "DIGEST")
		for _, q := range s.Registry.Log() {
			text += "\n" + s.Line(q)
		}
		seen = append(seen, text)
	}
	if seen[0] != seen[1] {
		t.Errorf("existing and missing content differ:\n%s\n%s", seen[0], seen[1])
	}
}

// TestMirrorSeesNoCallersCredentials: a mirror is not shown the caller's credentials.
func TestMirrorSeesNoCallersCredentials(t *testing.T) {
	s := newScene(t, Pod)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	s.Registry.Tag("org/app", "v1", image.Digest)
	mirror := registrytest.New(registrytest.WithBasicAuth())
	t.Cleanup(mirror.Close)
	s.options.HostsDir = fronttest.HostsDir(t, s.Registry.Host())
	hosts := filepath.Join(s.options.HostsDir, s.Registry.Host(), "hosts.toml")
	text := fmt.Sprintf("server = %q\n[host.%q]\n", s.Registry.URL(), mirror.URL())
	if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	s.User = [2]string{"user of org/app", fronttest.Secret}
	s.Pull("v1")
	if shown := mirror.Log(registrytest.WithCredentials); len(shown) > 0 || mirror.Count() == 0 {
		t.Errorf("the mirror was asked %d times, and shown %v", mirror.Count(), shown)
	}
}

// TestFailedTokenEndpointIsRetried: a token endpoint that fails once is asked again.
func TestFailedTokenEndpointIsRetried(t *testing.T) {
	for name, fault := range map[string]func(...registrytest.Filter) registrytest.Interceptor{
		"503":   func(f ...registrytest.Filter) registrytest.Interceptor { return registrytest.Answer(503, nil, f...) },
		"reset": registrytest.Reset,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			s.Publish()
			s.Registry.Intercept(fault(registrytest.First(1, registrytest.Of(registrytest.KindToken))))
			s.Pull("v1")
		})
	}
}

// TestCutManifestIsFetchedAgain: a document whose answer breaks off is asked for again.
func TestCutManifestIsFetchedAgain(t *testing.T) {
	s := newScene(t, Node)
	s.Publish()
	s.Registry.Intercept(s.Registry.Truncate(20, registrytest.First(1, registrytest.WithCredentials, registrytest.Method(http.MethodGet), registrytest.Of(registrytest.KindManifest))))
	s.Pull("v1")
}

// TestRefusedRedirectIsNotRetried: what our policy refuses is not tried again.
func TestRefusedRedirectIsNotRetried(t *testing.T) {
	s := newScene(t, Node)
	blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
	for _, to := range []string{"ftp://cdn.test?secret=canary", "http://169.254.169.254", "https://[?secret=canary"} {
		s.Registry.ResetIntercepts()
		s.Registry.ResetLog()
		s.Registry.Intercept(registrytest.Answer(http.StatusTemporaryRedirect, http.Header{"Location": {to}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
		got := s.Get("blobs", blob.Digest)
		if n := s.Registry.Count(registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)); got.Status != http.StatusBadGateway || n != 1 || strings.Contains(got.Body, "canary") {
			t.Errorf("%s: %+v, asked %d times", to, got, n)
		}
	}
}

// TestStalledRegistryEndsInAnError: a registry that does not answer is an error in time, and names
// the child.
func TestStalledRegistryEndsInAnError(t *testing.T) {
	s := newScene(t, Node)
	s.options.Timeout = 300 * time.Millisecond
	s.start(filepath.Join(t.TempDir(), "locations"))
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	index := s.Registry.Index("org/app", registrytest.Member(web, "web"))
	s.Get("manifests", index.Digest)
	s.Registry.Intercept(s.Registry.Stall(registrytest.In("org/app/web")))
	if got := s.Get("manifests", web.Digest); got.Status != http.StatusGatewayTimeout || !strings.Contains(got.Body, "org/app/web") {
		t.Errorf("%+v", got)
	}
}

// TestIndexOfEmptyEntriesPasses: a plain document of a hundred thousand empty entries passes, and
// is not read.
func TestIndexOfEmptyEntriesPasses(t *testing.T) {
	s := newScene(t, Node)
	body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{}` + strings.Repeat(",{}", 1_000_000) + `]}`
	d := s.Registry.Put("org/app", ocispec.MediaTypeImageIndex, []byte(body))
	if got := s.Get("manifests", d.Digest); got.Status != http.StatusOK || len(got.Body) != len(body) {
		t.Errorf("status %d, %d bytes", got.Status, len(got.Body))
	}
	found, _, err := nested.NewRule(nested.Keys{}, nested.Limits{}).Follow(plain(repository(t, s.Registry.Host()+"/org/app"), d.Digest), []byte(body), repository(t, s.Registry.Host()+"/org/app"))
	if len(found) > 0 || err != nil {
		t.Errorf("%d places, %v", len(found), err)
	}
}

// TestRequestsForOtherHostsAreRefused: requests that were meant for another host are not answered.
func TestRequestsForOtherHostsAreRefused(t *testing.T) {
	s := newScene(t, Node)
	for host, want := range map[string]int{
		"evil.test":                http.StatusMisdirectedRequest,
		"evil.test:7117":           http.StatusMisdirectedRequest,
		"10.0.0.1":                 http.StatusMisdirectedRequest,
		"0.0.0.0:7117":             http.StatusMisdirectedRequest,
		"localhost.evil.test":      http.StatusMisdirectedRequest,
		"localhost.evil.test:7117": http.StatusMisdirectedRequest,
		"evil-localhost:7117":      http.StatusMisdirectedRequest,
		"127.0.0.1.evil.test":      http.StatusMisdirectedRequest,
		"127.0.0.1.evil.test:7117": http.StatusMisdirectedRequest,
		"localhost:7117":           http.StatusOK,
		"127.0.0.1":                http.StatusOK,
		"[::1]:7117":               http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := s.Server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// TestLogSaysWhatWasMissingOrDenied: who runs a node reads in the log what was not found and what was denied, and nothing about the question
// for credentials with which each pull of mode Pod begins.
func TestLogSaysWhatWasMissingOrDenied(t *testing.T) {
	for _, test := range []struct {
		mode    Mode
		path    string
		caller  string
		want    []string
		nothing bool
	}{
		{mode: Node, path: "/v2/org/app/manifests/none", want: []string{"level=info", "org/app: manifests none", "status=404"}},
		{mode: Node, path: "/v2/org/other/manifests/none", want: []string{"level=warning", "org/other denied", "status=403"}},
		{mode: Node, path: "/v2/ORG/app/manifests/v1", want: []string{"level=warning", "invalid reference format", "status=400"}},
		{mode: Pod, path: "/v2/org/app/manifests/v1", nothing: true},
		{mode: Pod, path: "/v2/org/app/manifests/v1", caller: "stranger", want: []string{"level=warning", "org/app denied", "status=401"}},
	} {
		s := newScene(t, test.mode)
		var out bytes.Buffer
		logger := logrus.New()
		logger.SetOutput(&out)
		req := httptest.NewRequestWithContext(log.WithLogger(t.Context(), logrus.NewEntry(logger)), http.MethodGet, test.path+"?ns="+s.Registry.Host(), nil)
		if test.caller != "" {
			req.SetBasicAuth(test.caller, fronttest.Secret)
		}
		req.Host = "127.0.0.1"
		s.Server.Config.Handler.ServeHTTP(httptest.NewRecorder(), req)
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in %s", test.path, want, &out)
			}
		}
		if test.nothing && out.Len() > 0 || strings.Contains(out.String(), "repository=/") {
			t.Errorf("%s: %s", test.path, &out)
		}
	}
}

// TestCutManifestIsFetchedAgainByTag: by its tag, too.
func TestCutManifestIsFetchedAgainByTag(t *testing.T) {
	s := newScene(t, Node)
	s.Publish()
	s.Registry.Intercept(s.Registry.Truncate(20, registrytest.First(1, registrytest.WithCredentials, registrytest.Method(http.MethodGet), registrytest.Of(registrytest.KindManifest))))
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

// TestFruitlessSearchIsMadeAgainInTime: how long a search is not made again does not depend on how often somebody asks.
func TestFruitlessSearchIsMadeAgainInTime(t *testing.T) {
	s := newScene(t, Node)
	s.Publish()
	s.Pull("v1")
	missing := digest.FromString("nowhere")
	s.Get("blobs", missing)
	w := s.Server.Config.Handler.(*Gateway).searches.idle[right{repository: repository(t, s.Registry.Host()+"/org/app")}]
	if w == nil || w.complete.IsZero() {
		t.Fatal("the search is not known to be complete")
	}
	until := w.complete
	s.Get("blobs", missing)
	if !w.complete.Equal(until) {
		t.Errorf("it was put off from %s to %s", until, w.complete)
	}
}

// TestMovedContentIsAskedForOnce: what is no longer where it was is asked for there once, though documents are read again that may know better.
func TestMovedContentIsAskedForOnce(t *testing.T) {
	s := newScene(t, Node)
	layer := s.Registry.PutBlob("org/app/worker", "application/octet-stream", []byte("a layer"))
	index := s.Registry.Index("org/app", registrytest.Member(s.Registry.Artifact("org/app/worker", "application/x-test", layer), "worker"))
	s.Registry.Tag("org/app", "v1", index.Digest)
	s.Pull("v1")
	s.Registry.Intercept(registrytest.Answer(http.StatusNotFound, nil, registrytest.Of(registrytest.KindBlob)))
	s.Registry.ResetLog()
	if got := s.Get("blobs", layer.Digest); got.Status != http.StatusNotFound || s.Registry.Count(registrytest.In("org/app/worker"), registrytest.Of(registrytest.KindBlob)) != 1 {
		t.Errorf("%+v, %v", got, s.Registry.Log())
	}
}

// TestRightIsFoundOutWithoutHEAD: a registry without HEAD is asked with GET whether a caller may read.
func TestRightIsFoundOutWithoutHEAD(t *testing.T) {
	s := newScene(t, Pod)
	root := s.Publish()
	for _, name := range []string{"org/app", "org/app/web", "org/app/a", "org/app/a/b"} {
		s.Registry.Allow("all", "all-secret", name)
		s.Registry.Allow("other", "other-secret", name)
	}
	s.Registry.Intercept(registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.WithCredentials, registrytest.Method(http.MethodHead)))
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v1")
	s.User = [2]string{"other", "other-secret"} // of whom nothing is known yet
	if got := s.Get("manifests", root.Digest); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}
