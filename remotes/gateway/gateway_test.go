package gateway

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestWhatIsNoPullIsRefused(t *testing.T) {
	s := newScene(t, Node)
	s.options.Allow = []Pattern{{registry: s.Registry.Host(), components: []string{"org", "*"}}}
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
		{"GET", "/v2/org/app/manifests/v1?ns=" + s.Registry.Host(), http.StatusBadRequest, nil},
		{"GET", "/v2/org/app/manifests/v1?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1", http.StatusBadRequest, nil},
		{"GET", "/v2/other/manifests/v1", http.StatusForbidden, nil},
		{"GET", "/v2/org/app/blobs/" + d, http.StatusForbidden, []string{"Origin", "http://evil.test"}},
		{"GET", "/v2/org/app/blobs/" + d, http.StatusForbidden, []string{"Sec-Fetch-Site", "cross-site"}},
	} {
		got := s.Do(test.method, test.path, test.header...)
		if got.Status != test.status || !strings.Contains(got.Body, `"errors"`) || got.Header.Get("WWW-Authenticate") != "" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %+v, want status %d", test.method, test.path, got, test.status)
		}
	}
	if log := s.Registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
}

// TestNodeNeverChallenges: CRI gives a pod's secrets to who answers 401.
func TestNodeNeverChallenges(t *testing.T) {
	s := newScene(t, Node)
	s.Registry.Index("secret/app")
	got := s.Do(http.MethodGet, "/v2/secret/app/manifests/v1")
	if got.Status != http.StatusForbidden || got.Header.Get("WWW-Authenticate") != "" || !strings.Contains(got.Body, "secret/app") {
		t.Errorf("%+v", got)
	}
}
