package find

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestErrorAnswersNameTheMember: what becomes of a member's registry's answers. The error names the child.
func TestErrorAnswersNameTheMember(t *testing.T) {
	wait := http.Header{"Retry-After": {"1"}}
	soon := http.Header{"Retry-After": {time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)}}
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		times  int // 0 for ever
		want   int
		code   string
	}{
		{"401 to a token", 401, nil, 0, http.StatusForbidden, "DENIED"},
		{"403", 403, nil, 0, http.StatusForbidden, "DENIED"},
		{"404", 404, nil, 0, http.StatusNotFound, "BLOB_UNKNOWN"},
		{"429 once, with a wait", 429, wait, 1, http.StatusOK, ""},
		{"429 once, with a date", 429, soon, 1, http.StatusOK, ""},
		{"429 for ever", 429, nil, 0, http.StatusServiceUnavailable, "UNAVAILABLE"},
		{"500 once", 500, nil, 1, http.StatusOK, ""},
		{"500 for ever", 500, nil, 0, http.StatusBadGateway, ""},
		{"502 for ever", 502, nil, 0, http.StatusBadGateway, ""},
		{"503 for ever", 503, nil, 0, http.StatusServiceUnavailable, ""},
		{"300", 300, nil, 0, http.StatusBadGateway, ""},
		{"304", 304, nil, 0, http.StatusBadGateway, ""},
		{"307 to nowhere", 307, nil, 0, http.StatusBadGateway, ""},
		{"204", 204, nil, 0, http.StatusBadGateway, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, node)
			s.options.Timeout = 10 * time.Second // all pauses, with their jitter, fit
			s.start(filepath.Join(t.TempDir(), "locations"))
			layer := s.Registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
			index := s.Registry.Index("org/app", registrytest.Member(s.Registry.Artifact("org/app/web", "application/x-test", layer), "web"))
			s.Fetch(index)
			about := []registrytest.Filter{registrytest.In("org/app/web"), registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials}
			if test.times > 0 {
				about = append(about, registrytest.First(test.times))
			}
			s.Registry.Intercept(registrytest.Answer(test.status, test.header, about...))
			began := time.Now()
			got := s.Get("blobs", layer.Digest)
			took := time.Since(began)
			if got.Status != test.want || got.Status != http.StatusOK && !strings.Contains(got.Body, "org/app/web") || got.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%+v, want status %d", got, test.want)
			}
			if test.want != http.StatusOK && test.code != "" && !strings.Contains(got.Body, test.code) && test.code != "UNAVAILABLE" {
				t.Errorf("%s, want code %s", got.Body, test.code)
			}
			if took > 8*time.Second || test.header.Get("Retry-After") == "1" && took < time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestMovedTagIsAnsweredConsistently: HEAD and GET of a tag that moves in between are each right about what they answer.
func TestMovedTagIsAnsweredConsistently(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	first := s.Publish()
	head := s.Do(http.MethodHead, "/v2/org/app/manifests/v1")
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"}))
	second := s.Registry.Index("org/app", registrytest.Member(web, "web"))
	s.Registry.Tag("org/app", "v1", second.Digest)
	got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1")
	for answer, want := range map[*fronttest.Reply]ocispec.Descriptor{&head: first, &got: second} {
		h := answer.Header
		if h.Get("Docker-Content-Digest") != want.Digest.String() || h.Get("Content-Length") != fmt.Sprint(want.Size) || h.Get("Content-Type") != want.MediaType {
			t.Errorf("%v, want %+v", h, want)
		}
	}
	if digest.FromString(got.Body) != second.Digest {
		t.Error("the body is another one")
	}
	if again := s.Do(http.MethodGet, "/v2/org/app/manifests/"+first.Digest.String()); digest.FromString(again.Body) != first.Digest {
		t.Error("the first is no longer itself")
	}
}

// TestSignedURLsAreNotShown: what a redirect has in its path and query reaches neither client nor log, however it fails.
func TestSignedURLsAreNotShown(t *testing.T) {
	for name, fault := range map[string]registrytest.Interceptor{
		"forbidden": registrytest.Answer(http.StatusForbidden, nil),
		"broken":    registrytest.Answer(http.StatusInternalServerError, nil),
		"reset":     registrytest.Reset(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, node)
			s.options.Timeout = 3 * time.Second
			s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
			s.start(filepath.Join(t.TempDir(), "locations"))
			store := registrytest.New() // asked with a prefix, which is no request of the specification
			t.Cleanup(store.Close)
			store.Intercept(fault)
			blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
			s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				q := registrytest.Describe(req)
				if q.Kind != registrytest.KindBlob || q.Authorization == "" {
					return false
				}
				http.Redirect(w, req, store.URL()+"/hunter2"+q.Path+"?X-Signature=hunter2", http.StatusTemporaryRedirect)
				return true
			})
			var out bytes.Buffer
			logger := logrus.New()
			logger.SetOutput(&out)
			logger.SetLevel(logrus.DebugLevel)
			req := httptest.NewRequestWithContext(log.WithLogger(t.Context(), logrus.NewEntry(logger)), http.MethodGet,
				"/v2/org/app/blobs/"+blob.Digest.String()+"?ns="+s.Registry.Host(), nil)
			req.Host = "127.0.0.1"
			answer := httptest.NewRecorder()
			s.Server.Config.Handler.ServeHTTP(answer, req)
			if answer.Code < 400 || store.Count() == 0 {
				t.Errorf("status %d, the store was asked %d times", answer.Code, store.Count())
			}
			if all := answer.Body.String() + out.String(); strings.Contains(all, "hunter2") {
				t.Errorf("the signature is shown: %s", all)
			}
		})
	}
}

// TestEndlessReferrersCostOnePage: a registry without the API answers 404, and one whose list is huge or goes on for ever costs
// one page a request.
func TestEndlessReferrersCostOnePage(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	s.Fetch(s.Registry.Index("org/app", registrytest.Member(web, "web")))
	list := func(body []byte, header http.Header, status int) {
		s.Registry.ResetIntercepts()
		s.Registry.ResetLog()
		s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			q := registrytest.Describe(req)
			if q.Kind != registrytest.KindReferrers || q.Authorization == "" {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			if link := header.Get("Link"); link != "" {
				w.Header().Set("Link", link)
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return true
		})
	}
	list([]byte("{}"), nil, http.StatusNotFound)
	if got := s.Get("referrers", web.Digest); got.Status != http.StatusNotFound {
		t.Errorf("not supported: %+v", got)
	}
	listed := s.Registry.Index("org/app/web")
	fallback := strings.Replace(web.Digest.String(), ":", "-", 1)
	s.Registry.Tag("org/app/web", fallback, listed.Digest)
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/"+fallback); got.Status != http.StatusOK || digest.FromString(got.Body) != listed.Digest {
		t.Errorf("by tag: %+v", got)
	}
	entry := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + web.Digest.String() + `","size":1},`
	huge := `{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(strings.Repeat(entry, 100_000), ",") + `]}`
	list([]byte(huge), nil, http.StatusOK)
	if got := s.Get("referrers", web.Digest); got.Status < 400 || len(got.Body) > 10_000 {
		t.Errorf("100,000 referrers: %d, %d bytes", got.Status, len(got.Body))
	}
	s.Registry.Intercept(registrytest.Say(http.StatusOK, "application/json", `{"name":"org/app","tags":["`+strings.Repeat("x", maxList)+`"]}`, registrytest.WithCredentials, registrytest.Of(registrytest.KindTags)))
	if got := s.Do(http.MethodGet, "/v2/org/app/tags/list"); got.Status < 400 || len(got.Body) > 10_000 {
		t.Errorf("4 MiB of tags: %d, %d bytes", got.Status, len(got.Body))
	}
	list([]byte(`{"schemaVersion":2,"manifests":[]}`), http.Header{"Link": {"<http://evil.test/v2/x?last=1>; rel=\"next\""}}, http.StatusOK)
	got := s.Get("referrers", web.Digest)
	if n := s.Registry.Count(registrytest.Of(registrytest.KindReferrers), registrytest.WithCredentials); n != 1 || got.Status != http.StatusBadGateway || got.Header.Get("Link") != "" {
		t.Errorf("%d requests for a page, %+v", n, got)
	}
}

// TestAllPagesOfReferrersAreReached: a client is led through all pages, with whatever parameters the registry's links have.
func TestAllPagesOfReferrersAreReached(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	s.Fetch(s.Registry.Index("org/app", registrytest.Member(web, "web")))
	s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		if q.Kind != registrytest.KindReferrers || q.Authorization == "" {
			return false
		}
		if req.URL.Query().Get("next_page") == "" {
			w.Header().Add("Link", `<?first=1>; rel="first"; title="a, b"`)
			w.Header().Add("Link", `<http://`+req.Host+req.URL.Path+`?next_page=two&n=1&ns=evil>; TITLE=x; REL="NEXT"`)
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
		return true
	})
	link := s.Get("referrers", web.Digest).Header.Get("Link")
	target, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	u, err := url.Parse(target)
	if err != nil || !ok || u.Path != "/v2/org/app/referrers/"+web.Digest.String() || u.Query().Get("ns") != s.Registry.Host() {
		t.Fatalf("link %q", link)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n := s.Registry.Count(func(q registrytest.Request) bool { return q.Query == "n=1&next_page=two" && q.Status == http.StatusOK }); n != 1 || resp.StatusCode != http.StatusOK || resp.Header.Get("Link") != "" {
		t.Errorf("%d requests for the second page: %+v", n, resp)
	}
}

// TestMissingReferrersAPIIs404: whatever says that a registry does not have the API is 404 for clients, who then ask for the
// tag; what is no list is an error.
func TestMissingReferrersAPIIs404(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	s.Fetch(s.Registry.Index("org/app", registrytest.Member(web, "web")))
	for _, test := range []struct {
		status     int
		mediaType  string
		body       string
		wantStatus int
	}{
		{400, "application/json", "{}", 404},
		{403, "text/html", "<html>", 404},
		{403, "application/json", `{"errors":[{"code":"DENIED","message":"no"}]}`, 403},
		{405, "application/json", "{}", 404},
		{406, "application/json", "{}", 404},
		{501, "application/json", "{}", 404},
		{200, "text/html; charset=utf-8", "<html>", 404},
		{200, "application/json", "{}", 502},
		{200, ocispec.MediaTypeImageIndex, `{"manifests":[`, 502},
		{200, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]}`, 200},
	} {
		s.Registry.ResetIntercepts()
		s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			q := registrytest.Describe(req)
			if q.Kind != registrytest.KindReferrers || q.Authorization == "" {
				return false
			}
			w.Header().Set("Content-Type", test.mediaType)
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
			return true
		})
		if got := s.Get("referrers", web.Digest); got.Status != test.wantStatus {
			t.Errorf("%d %s: %+v, want %d", test.status, test.body, got, test.wantStatus)
		}
	}
}
