package find

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// TestSharedLayerIsFoundInThePlainImage: what a plain image has in common with a member is found
// where the plain image is, by whoever may read that.
func TestSharedLayerIsFoundInThePlainImage(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]frontMode{"node": node, "pod": pod} {
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
			if mode == node {
				s.User = [2]string{}
			}
			s.Pull("bundle")
			if mode == pod {
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
	t.Parallel()
	s := newScene(t, node)
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
	if roots := s.Locations.Roots(s.repository("org/app"), locations.MaxRoots); len(roots) != 1 {
		t.Errorf("roots %v", roots)
	}
}

// TestCallerWithoutRightsLearnsNothing: a registry that answers 404 to who may not read does
// not make the gateway tell more.
func TestCallerWithoutRightsLearnsNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
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
	t.Parallel()
	s := newScene(t, pod)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	s.Registry.Tag("org/app", "v1", image.Digest)
	mirror := clienttest.NewRegistry(t, registrytest.WithBasicAuth())
	s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	hosts := filepath.Join(s.options.hostsDir, s.Registry.Host(), "hosts.toml")
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
	t.Parallel()
	for name, fault := range map[string]func(...registrytest.Filter) registrytest.Interceptor{
		"503":   func(f ...registrytest.Filter) registrytest.Interceptor { return registrytest.Answer(503, nil, f...) },
		"reset": registrytest.Reset,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, node)
			s.Publish()
			s.Registry.Intercept(fault(registrytest.First(1, registrytest.Of(registrytest.KindToken))))
			s.Pull("v1")
		})
	}
}

// TestRefusedRedirectIsNotRetried: what our policy refuses is not tried again.
func TestRefusedRedirectIsNotRetried(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
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
	t.Parallel()
	s := newScene(t, node)
	file := filepath.Join(t.TempDir(), "locations")
	s.start(file)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	index := s.Registry.Index("org/app", registrytest.Member(web, "web"))
	s.Get("manifests", index.Digest) // has all the time that it needs
	if err := s.Locations.Close(); err != nil {
		t.Fatal(err)
	}
	s.options.Timeout = 300 * time.Millisecond
	s.start(file)
	s.Registry.Intercept(s.Registry.Stall(registrytest.In("org/app/web")))
	if got := s.Get("manifests", web.Digest); got.Status != http.StatusGatewayTimeout || !strings.Contains(got.Body, "org/app/web") {
		t.Errorf("%+v", got)
	}
}

// TestIndexOfEmptyEntriesPasses: a plain index of a hundred thousand empty entries passes, and
// is not read.
func TestIndexOfEmptyEntriesPasses(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{}` + strings.Repeat(",{}", 1_000_000) + `]}`
	d := s.Registry.Put("org/app", ocispec.MediaTypeImageIndex, []byte(body))
	if got := s.Get("manifests", d.Digest); got.Status != http.StatusOK || len(got.Body) != len(body) {
		t.Errorf("status %d, %d bytes", got.Status, len(got.Body))
	}
	found, _, err := nested.NewRule(nested.Keys{}, nested.Limits{}).Follow(plain(s.repository("org/app"), d.Digest), []byte(body), s.repository("org/app"))
	if len(found) > 0 || err != nil {
		t.Errorf("%d places, %v", len(found), err)
	}
}

// TestCutManifestIsFetchedAgainByTag: by its tag, too.
func TestCutManifestIsFetchedAgainByTag(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	s.Registry.Intercept(s.Registry.Truncate(20, registrytest.First(1, registrytest.WithCredentials, registrytest.Method(http.MethodGet), registrytest.Of(registrytest.KindManifest))))
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

// TestTagAllowsAnotherSearch: whoever asks for a tag after a search that found nothing may have the index that it names now,
// and gets what is in that.
func TestTagAllowsAnotherSearch(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	s.Pull("v1")
	s.Get("blobs", digest.FromString("nowhere"))
	worker := s.Registry.Image("org/app/worker", []byte("worker"))
	s.Registry.Tag("org/app", "v1", s.Registry.Index("org/app", registrytest.Member(worker, "worker")).Digest)
	s.Do(http.MethodHead, "/v2/org/app/manifests/v1") // the client has the index
	if got := s.Get("manifests", worker.Digest); got.Status != http.StatusOK {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// TestFruitlessSearchIsMadeAgainInTime: how long a search is not made again does not depend on how often somebody asks.
func TestFruitlessSearchIsMadeAgainInTime(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.Publish()
	s.Pull("v1")
	missing := digest.FromString("nowhere")
	s.Get("blobs", missing)
	w := s.Server.Config.Handler.(*front).searches.idle[tenant{repository: s.repository("org/app")}]
	if w == nil || w.complete.IsZero() {
		t.Fatal("the search is not known to be complete")
	}
	until := w.complete
	s.Get("blobs", missing)
	if !w.complete.Equal(until) {
		t.Errorf("it was put off from %s to %s", until, w.complete)
	}
}

// TestMovedContentIsAskedForOnce: what is no longer where it was is asked for there once, though indexes are read again that may name another place.
func TestMovedContentIsAskedForOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
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
	t.Parallel()
	s := newScene(t, pod)
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
