package find

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestOnlyHeadersAboutContentPass: of what a caller sends, a registry sees which part of a blob is wanted, and nothing else; of what a
// registry sends beside content, a caller sees what is said of that, and no challenge or cookie.
func TestOnlyHeadersAboutContentPass(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	root := s.Publish()
	blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
	s.Registry.ResetLog()
	s.Registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		for _, name := range []string{"Set-Cookie", "Www-Authenticate", "X-Internal", "Access-Control-Allow-Origin", "Authentication-Info"} {
			w.Header().Set(name, "canary")
		}
		return false
	})
	sees := func(path string, got fronttest.Reply) {
		for name := range got.Header {
			if got.Header.Get(name) == "canary" {
				t.Errorf("%s: the caller sees the registry's %s", path, name)
			}
		}
	}
	sent := []string{"Range", "bytes=1-3", "Authorization", "Bearer canary", "Cookie", "session=canary", "Proxy-Authorization", "Basic canary", "X-Registry-Auth", "canary",
		"X-Forwarded-For", "canary", "Referer", "http://canary/", "User-Agent", "canary", "If-None-Match", `"canary"`, "Accept", "text/canary", "Accept-Language", "canary"}
	if got := s.Do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), sent...); got.Status != http.StatusPartialContent || got.Body != "ont" {
		t.Errorf("%+v", got)
	} else {
		sees("blob", got)
	}
	for _, path := range []string{"manifests/v1", "manifests/" + string(root.Digest), "tags/list", "referrers/" + string(root.Digest)} {
		if got := s.Do(http.MethodGet, "/v2/org/app/"+path, sent[2:]...); got.Status != http.StatusOK {
			t.Errorf("%s: %+v", path, got)
		} else {
			sees(path, got)
		}
	}
	for _, q := range s.Registry.Log() {
		if encoding := q.Header.Get("Accept-Encoding"); q.Kind != registrytest.KindToken && encoding != "identity" {
			t.Errorf("%s accepts the encoding %q, of which the digest is not", q, encoding)
		}
		for name, values := range q.Header {
			for _, v := range values {
				if strings.Contains(v, "canary") {
					t.Errorf("%s has %s: %s of the caller", q, name, v)
				}
			}
		}
	}
}
