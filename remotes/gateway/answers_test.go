package gateway

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/callers"
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

// TestNodeKnowsNoCallers: in mode Node nobody gets a share of their own, of memory or of what is kept, by what they show.
func TestNodeKnowsNoCallers(t *testing.T) {
	for mode, want := range map[Mode]callers.Caller{Node: {}, Pod: {Username: "user", Password: "password"}} {
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
