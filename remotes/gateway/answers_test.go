package gateway

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestAllowed: an allow list is about parents; what is below one that is allowed is served, and for nothing else a
// registry is asked.
func TestAllowed(t *testing.T) {
	s := newScene(t, Node)
	pattern, err := ParsePattern(s.registry.Host() + "/org/app/team-a/*")
	if err != nil {
		t.Fatal(err)
	}
	s.options.Allow = []Pattern{pattern}
	s.start(filepath.Join(t.TempDir(), "trail"))
	s.registry.AllowAnonymous("org/app/team-a/x", "org/app/team-a/x/web", "org/app/team-a", "org/app/team-ab/x", "org/app/b")
	layer := registrytest.TarLayer(map[string]string{"web": "1"})
	web := s.registry.Image("org/app/team-a/x/web", layer)
	s.registry.Tag("org/app/team-a/x", "v1", s.registry.Index("org/app/team-a/x", registrytest.Member(web, "web")).Digest)
	for _, name := range []string{"team-a", "team-ab/x", "b"} {
		s.registry.Tag("org/app/"+name, "v1", s.registry.Image("org/app/"+name, layer).Digest)
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
		if status, _, code := s.raw("GET /v2/org/app/" + path + "/manifests/v1?ns=" + s.registry.Host()); status != want || code == "" {
			t.Errorf("%s: %d, code %q, want %d", path, status, code, want)
		}
	}
	if log := s.registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
	for _, path := range []string{"team-a/x/manifests/v1", "team-a/x/manifests/" + web.Digest.String(), "team-a/x/web/manifests/" + web.Digest.String()} {
		if got := s.do(http.MethodGet, "/v2/org/app/"+path); got.status != http.StatusOK {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestMessages: of what a registry says in an error a client is shown so much, on one line, and nothing that a terminal
// obeys.
func TestMessages(t *testing.T) {
	s := newScene(t, Node)
	for name, message := range map[string]string{"long": strings.Repeat("\u00e9", 2000), "long, odd": "x" + strings.Repeat("\u00e9", 2000), "controls": `\u001b[2J\r\n\u009b\u202e`} {
		for _, status := range []int{http.StatusForbidden, http.StatusTeapot} {
			s.registry.ResetIntercepts()
			s.registry.Intercept(registrytest.Say(status, "application/json", `{"errors":[{"code":"DENIED","message":"`+message+`"}]}`, registrytest.WithCredentials))
			got := s.do(http.MethodGet, "/v2/org/app/manifests/v1")
			var answer struct{ Errors []struct{ Message string } }
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil || len(answer.Errors) != 1 || got.status != status {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
			shown := answer.Errors[0].Message
			if !strings.Contains(shown, "DENIED") || len(shown) > maxMessage+len("…") || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
				t.Errorf("%s: %d: %d bytes, %q", name, status, len(shown), shown)
			}
		}
	}
}

// TestHeadOfBlob: whatever a registry says in its answer to HEAD, the gateway's has all three headers.
func TestHeadOfBlob(t *testing.T) {
	for name, status := range map[string]int{"says nothing": http.StatusOK, "does not know HEAD": http.StatusMethodNotAllowed, "is itself": 0} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			layer := s.registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
			s.fetch(s.registry.Index("org/app", registrytest.Member(s.registry.Artifact("org/app/web", "application/x-test", layer), "web")))
			s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if status == 0 || req.Method != http.MethodHead || req.Header.Get("Authorization") == "" {
					return false
				}
				w.WriteHeader(status)
				return true
			})
			got := s.do(http.MethodHead, "/v2/org/app/blobs/"+layer.Digest.String())
			h := got.header
			if got.status != http.StatusOK || h.Get("Content-Length") != "7" || h.Get("Docker-Content-Digest") != layer.Digest.String() || h.Get("Content-Type") == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestTimeout: an answer begins before containerd gives up, which it does after 30 seconds.
func TestTimeout(t *testing.T) {
	g := New(Options{Mode: Node})
	defer g.Close()
	if g.options.Timeout <= 0 || g.options.Timeout > 28*time.Second {
		t.Errorf("%v", g.options.Timeout)
	}
}
