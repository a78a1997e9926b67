package find

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/sanitize"
)

// TestErrorMessagesAreSanitized: of what a registry or its token server says in an error a client is shown so much, on one line, and nothing
// that a terminal obeys.
func TestErrorMessagesAreSanitized(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	for _, test := range []struct {
		name, message string
		shown         bool
	}{
		{"long", strings.Repeat("\u00e9", 2000), true},
		{"long, odd", "x" + strings.Repeat("\u00e9", 2000), true},
		{"controls", `\u001b[2J\r\n\u009b\u202e`, true},
		{"long controls", strings.Repeat(`\u202e`, 1000), true},
		{"invisible", `\u3164`, true},
		{"more than is read", strings.Repeat("x", 64<<10), false},
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
			if at.kind == registrytest.KindManifest && strings.Contains(shown, "SAID") != test.shown || len(shown) > sanitize.MaxMessage+len("…") ||
				strings.ContainsFunc(shown, func(r rune) bool { return !sanitize.IsShown(r) || r == unicode.ReplacementChar }) {
				t.Errorf("%s %v: %d bytes, %q", test.name, at, len(shown), shown)
			}
		}
	}
}

// TestHeadOfBlobHasAllHeaders: whatever a registry says in its answer to HEAD, the gateway's has all three headers.
func TestHeadOfBlobHasAllHeaders(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"says nothing": http.StatusOK, "does not know HEAD": http.StatusMethodNotAllowed, "is itself": 0} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, node)
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
	t.Parallel()
	s := newScene(t, node)
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
	if s.Registry.Count(registrytest.In("org/app"), registrytest.Of(registrytest.KindManifest)) == 0 || len(s.Locations.Places(s.repository("org/app"), root.Digest)) == 0 {
		t.Error("nothing was searched for behind the tag that is one")
	}
}
