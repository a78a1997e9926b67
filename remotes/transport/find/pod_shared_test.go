package find

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// TestHeldIsForOneCaller: what was read to answer one caller's HEAD is given to that caller's GET, and to nobody else's.
func TestHeldIsForOneCaller(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	root := s.Publish()
	s.Registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
	s.Registry.Allow("plain", "plain-secret", "org/app")
	s.Registry.Allow("nobody", "no-secret")
	s.User = [2]string{"all", "all-secret"}
	s.Pull("v1")
	member := s.Children(s.Get("manifests", root.Digest).Body)[0]
	for _, stranger := range [][2]string{{"plain", "plain-secret"}, {"nobody", "no-secret"}, {"all", "wrong"}, {"another", "all-secret"}, {}} {
		s.User = [2]string{"all", "all-secret"}
		if head := s.Do(http.MethodHead, "/v2/org/app/manifests/"+string(member.Digest)); head.Status != http.StatusOK {
			t.Fatalf("HEAD of a member: %+v", head)
		}
		s.User = stranger
		if got := s.Get("manifests", member.Digest); got.Status == http.StatusOK || strings.Contains(got.Body, "schemaVersion") {
			t.Errorf("%q was given what was held for another: %d %.80s", stranger, got.Status, got.Body)
		}
		s.User = [2]string{"all", "all-secret"}
		s.Registry.ResetLog()
		if got := s.Get("manifests", member.Digest); got.Status != http.StatusOK || digest.FromString(got.Body) != member.Digest {
			t.Errorf("after %q: %+v", stranger, got)
		}
		if asked := s.Registry.Log(registrytest.In("org/app/web"), registrytest.Of(registrytest.KindManifest)); len(asked) > 0 {
			t.Errorf("after %q it was fetched again: %v", stranger, asked)
		}
	}
}

// TestSearchesOfCallersAreApart: that one caller's search came to nothing says nothing to another, who may read more.
func TestSearchesOfCallersAreApart(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	layer := s.Registry.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte("a layer"))
	s.Registry.Tag("org/app", "v1", s.Registry.Index("org/app", registrytest.Member(s.Registry.Artifact("org/app/web", "application/x-test", layer), "web")).Digest)
	s.Registry.Allow("all", "all-secret", "org/app", "org/app/web")
	s.Registry.Allow("plain", "plain-secret", "org/app")
	for _, step := range []struct {
		user, password string
		want           int
	}{{"plain", "plain-secret", http.StatusNotFound}, {"all", "all-secret", http.StatusOK}} {
		s.User = [2]string{step.user, step.password}
		if got := s.Get("blobs", layer.Digest); got.Status != step.want {
			t.Errorf("%s: %d %s, want %d", step.user, got.Status, got.Body, step.want)
		}
	}
}

// timed is a gateway in mode pod before a registry that is in the process, within a bubble of testing/synctest. The
// registry wants Basic, and lets in to each repository whose password is there.
type timed struct {
	t       *testing.T
	gateway *front
	content map[string][]byte // by path
	may     map[string]bool   // repositories
}

func newTimed(t *testing.T, mode frontMode) *timed {
	s := &timed{t: t, content: map[string][]byte{}, may: map[string]bool{}}
	cache, err := locations.Open(filepath.Join(t.TempDir(), "locations"), locations.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.gateway = newFront(frontOptions{mode: mode, Options: Options{Locations: cache, SearchRequests: 10},
		update: func(c *http.Client) error { c.Transport = inProcess{s}; return nil }})
	t.Cleanup(func() {
		s.gateway.Close()
		_ = cache.Close()
	})
	return s
}

// inProcess answers with a handler.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (s *timed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, ok := s.content[r.URL.Path]
	repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	repository, _, _ = strings.Cut(repository, "/blobs/")
	switch _, _, signed := r.BasicAuth(); {
	case !signed && s.gateway.options.PerCaller:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	case !s.may[repository]:
		w.WriteHeader(http.StatusForbidden)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		if bytes.Contains(data, []byte(`"manifests"`)) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		}
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// put puts content under its digest, and under further names.
func (s *timed) put(repository, kind string, data string, names ...string) digest.Digest {
	d := digest.FromString(data)
	for _, name := range append(names, d.String()) {
		s.content["/v2/"+repository+"/"+kind+"/"+name] = []byte(data)
	}
	s.may[repository] = true
	return d
}

func (s *timed) status(method, path string) int {
	req := httptest.NewRequestWithContext(s.t.Context(), method, "/v2/org/app/"+path+"?ns=registry.test", nil)
	req.Host = "localhost"
	if s.gateway.options.PerCaller {
		req.SetBasicAuth("somebody", fronttest.Secret)
	}
	w := httptest.NewRecorder()
	s.gateway.ServeHTTP(w, req)
	return w.Code
}

// publish puts an index with one member, and returns the digests of the member and of its layer.
func (s *timed) publish() (member, layer digest.Digest) {
	layer = s.put("org/app/web", "blobs", "a layer")
	manifest := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + describe("application/x-test", "a layer") + `,"layers":[]}`
	member = s.put("org/app/web", "manifests", manifest)
	entry := strings.TrimSuffix(describe(ocispec.MediaTypeImageManifest, manifest), "}") + `,"annotations":{"io.github.nestedoci.child-namespace":"web"}}`
	s.put("org/app", "manifests", `{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[`+entry+`]}`, "v1")
	return member, layer
}

func describe(mediaType, data string) string {
	return `{"mediaType":"` + mediaType + `","digest":"` + digest.FromString(data).String() + `","size":` + strconv.Itoa(len(data)) + `}`
}

// TestRightsEnd: for how long a caller is believed to have the right that it had a moment ago.
func TestRightsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTimed(t, pod)
		member, layer := s.publish()
		if got := s.status(http.MethodGet, "manifests/v1") + s.status(http.MethodGet, "manifests/"+member.String()); got != 2*http.StatusOK {
			t.Fatalf("the root and its member: %d", got)
		}
		s.may["org/app"] = false
		if got := s.status(http.MethodGet, "blobs/"+layer.String()); got != http.StatusOK {
			t.Errorf("a moment after the pull of the root: %d", got)
		}
		time.Sleep(2 * time.Minute)
		if got := s.status(http.MethodGet, "blobs/"+layer.String()); got != http.StatusForbidden {
			t.Errorf("two minutes after the right to the root has gone: %d, want %d", got, http.StatusForbidden)
		}
	})
}

// TestHeldEnds: what was read for a HEAD waits for the GET that follows at once, not for one that comes when the right
// to it, or the content, may have gone.
func TestHeldEnds(t *testing.T) {
	for _, mode := range []frontMode{pod, node} {
		synctest.Test(t, func(t *testing.T) {
			s := newTimed(t, mode)
			member, _ := s.publish()
			path := "manifests/" + member.String()
			for _, wait := range []time.Duration{time.Second, 2 * time.Minute} {
				s.may["org/app/web"] = true
				if got := s.status(http.MethodGet, "manifests/v1") + s.status(http.MethodHead, path); got != 2*http.StatusOK {
					t.Fatalf("the root and the HEAD of a member: %d", got)
				}
				s.may["org/app/web"] = false
				time.Sleep(wait)
				want := http.StatusOK
				if wait > time.Minute {
					want = http.StatusForbidden
				}
				if got := s.status(http.MethodGet, path); got != want {
					t.Errorf("%v after the right to it has gone: %d, want %d", wait, got, want)
				}
			}
		})
	}
}
