package gateway

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestAllowListIsAboutParents: an allow list is about parents; what is below one that is allowed is served, and for nothing else a
// registry is asked.
func TestAllowListIsAboutParents(t *testing.T) {
	s := newScene(t, Node)
	pattern, err := ParsePattern(s.Registry.Host() + "/org/app/team-a/*")
	if err != nil {
		t.Fatal(err)
	}
	s.options.Allow = []Pattern{pattern}
	s.start(filepath.Join(t.TempDir(), "locations"))
	s.Registry.AllowAnonymous("org/app/team-a/x", "org/app/team-a/x/web", "org/app/team-a", "org/app/team-ab/x", "org/app/b")
	layer := registrytest.TarLayer(map[string]string{"web": "1"})
	web := s.Registry.Image("org/app/team-a/x/web", layer)
	s.Registry.Tag("org/app/team-a/x", "v1", s.Registry.Index("org/app/team-a/x", registrytest.Member(web, "web")).Digest)
	for _, name := range []string{"team-a", "team-ab/x", "b"} {
		s.Registry.Tag("org/app/"+name, "v1", s.Registry.Image("org/app/"+name, layer).Digest)
	}
	for path, want := range map[string]int{
		"team-a":             http.StatusForbidden,
		"team-ab/x":          http.StatusForbidden,
		"b":                  http.StatusForbidden,
		"team-a/../b":        http.StatusBadRequest,
		"team-a/x/../../b":   http.StatusBadRequest,
		"team-a%2f..%2fb":    http.StatusBadRequest,
		"team-a/%2e%2e/b":    http.StatusBadRequest,
		"team-a//x":          http.StatusBadRequest,
		"team-a/X":           http.StatusBadRequest,
		"TEAM-A/x":           http.StatusBadRequest,
		"v2/team-a/x":        http.StatusForbidden,
		"team-a/x/./web":     http.StatusBadRequest,
		"team-a\\..\\b":      http.StatusBadRequest,
		"team-a/x;/../b":     http.StatusBadRequest,
		"team-a/x%00/web":    http.StatusBadRequest,
		"team-a/x@sha256:00": http.StatusBadRequest,
	} {
		if status, _, code := s.Raw("GET /v2/org/app/" + path + "/manifests/v1?ns=" + s.Registry.Host()); status != want || code == "" {
			t.Errorf("%s: %d, code %q, want %d", path, status, code, want)
		}
	}
	if log := s.Registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
	for _, path := range []string{"team-a/x/manifests/v1", "team-a/x/manifests/" + web.Digest.String(), "team-a/x/web/manifests/" + web.Digest.String()} {
		if got := s.Do(http.MethodGet, "/v2/org/app/"+path); got.Status != http.StatusOK {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestErrorMessagesAreSanitized: of what a registry or its token server says in an error a client is shown so much, on one line, and nothing
// that a terminal obeys.
func TestErrorMessagesAreSanitized(t *testing.T) {
	s := newScene(t, Node)
	for _, test := range []struct {
		name, message string
		shown         bool
	}{
		{"long", strings.Repeat("\u00e9", 2000), true},
		{"long, odd", "x" + strings.Repeat("\u00e9", 2000), true},
		{"controls", `\u001b[2J\r\n\u009b\u202e`, true},
		{"more than is read", strings.Repeat("x", maxErrorBody), false},
	} {
		for _, at := range []struct {
			kind   registrytest.Kind
			status int
		}{{registrytest.KindManifest, http.StatusForbidden}, {registrytest.KindManifest, http.StatusTeapot}, {registrytest.KindToken, http.StatusForbidden}} {
			s.start(filepath.Join(t.TempDir(), "locations")) // has no token yet
			s.Registry.ResetIntercepts()
			s.Registry.Intercept(registrytest.Say(at.status, "application/json", `{"errors":[{"code":"SAID","message":"`+test.message+`"}]}`, func(q registrytest.Request) bool {
				return q.Kind == at.kind && (q.Authorization != "" || q.Kind == registrytest.KindToken)
			}))
			got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1")
			var answer struct{ Errors []struct{ Message string } }
			if err := json.Unmarshal([]byte(got.Body), &answer); err != nil || len(answer.Errors) != 1 || got.Status != at.status {
				t.Fatalf("%s %v: %+v, %v", test.name, at, got, err)
			}
			shown := answer.Errors[0].Message
			if at.kind == registrytest.KindManifest && strings.Contains(shown, "SAID") != test.shown || len(shown) > maxMessage+len("…") ||
				strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
				t.Errorf("%s %v: %d bytes, %q", test.name, at, len(shown), shown)
			}
		}
	}
}

// TestHeadOfBlobHasAllHeaders: whatever a registry says in its answer to HEAD, the gateway's has all three headers.
func TestHeadOfBlobHasAllHeaders(t *testing.T) {
	for name, status := range map[string]int{"says nothing": http.StatusOK, "does not know HEAD": http.StatusMethodNotAllowed, "is itself": 0} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			layer := s.Registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
			s.Fetch(s.Registry.Index("org/app", registrytest.Member(s.Registry.Artifact("org/app/web", "application/x-test", layer), "web")))
			s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if status == 0 || req.Method != http.MethodHead || req.Header.Get("Authorization") == "" {
					return false
				}
				w.WriteHeader(status)
				return true
			})
			got := s.Do(http.MethodHead, "/v2/org/app/blobs/"+layer.Digest.String())
			h := got.Header
			if got.Status != http.StatusOK || h.Get("Content-Length") != "7" || h.Get("Docker-Content-Digest") != layer.Digest.String() || h.Get("Content-Type") == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestInvalidTagsAreNotAskedFor: a search asks for no name in a registry's list of tags that cannot be a tag.
func TestInvalidTagsAreNotAskedFor(t *testing.T) {
	s := newScene(t, Node)
	root := s.Publish()
	s.Registry.Intercept(registrytest.Say(http.StatusOK, "application/json", `{"tags":["../../../secret/app/manifests/v1","..","v1?x=y","v1#x","a/b","a b","","v1"]}`, registrytest.WithCredentials, registrytest.Of(registrytest.KindTags)))
	missing := digest.FromString("nowhere")
	if got := s.Get("blobs", missing); got.Status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
	for _, q := range s.Registry.Log(registrytest.WithCredentials, registrytest.Of(registrytest.KindManifest)) {
		if !strings.HasPrefix(q.Path, "/v2/org/app") || !strings.Contains(q.Path, "/manifests/sha256:") && q.Path != "/v2/org/app/manifests/v1" {
			t.Errorf("%s: %s", q, q.Path)
		}
	}
	if s.Registry.Count(registrytest.In("org/app"), registrytest.Of(registrytest.KindManifest)) == 0 || len(s.locations.Places(repository(t, s.Registry.Host()+"/org/app"), root.Digest)) == 0 {
		t.Error("nothing was searched for behind the tag that is one")
	}
}

// TestNodeKnowsNoCallers: in mode Node nobody gets a share of their own, of memory or of what is kept, by what they show.
func TestNodeKnowsNoCallers(t *testing.T) {
	for mode, want := range map[Mode]caller{Node: {}, Pod: {"user", "password"}} {
		g := New(Options{Mode: mode})
		defer g.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("user", "password")
		if got := g.caller(req); got != want {
			t.Errorf("mode %d: %v", mode, got)
		}
	}
}

// TestAnswerBeginsBeforeContainerdGivesUp: an answer begins before containerd gives up, which it does after 30 seconds.
func TestAnswerBeginsBeforeContainerdGivesUp(t *testing.T) {
	g := New(Options{Mode: Node})
	defer g.Close()
	if g.options.Timeout <= 0 || g.options.Timeout > 28*time.Second {
		t.Errorf("%v", g.options.Timeout)
	}
}
