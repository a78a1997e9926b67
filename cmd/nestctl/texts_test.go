package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestFailureTexts: what each class of failure is called by the commands that read a bundle, and what it is not called.
func TestFailureTexts(t *testing.T) {
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(storage.Close)
	manifests, blobs := registrytest.Of(registrytest.KindManifest), registrytest.Of(registrytest.KindBlob)
	elsewhere := http.Header{"Location": {storage.URL + "/bucket?X-Signature=HUNTER2"}}
	for name, test := range map[string]struct {
		fault  registrytest.Interceptor
		status int
		says   string
		blobs  bool // only what reads blobs fails
	}{
		"denied":            {registrytest.Answer(403, nil, manifests), denied, "denied: the registry answered 403 Forbidden ; log in: docker login ", false},
		"denied blobs":      {registrytest.Answer(403, nil, blobs), denied, "denied: the registry answered 403 Forbidden ; log in: docker login ", true},
		"absent":            {registrytest.Answer(404, nil, manifests), notFound, "not found", false},
		"busy":              {registrytest.Answer(503, http.Header{"Retry-After": {"86400"}}, manifests), failure, "503 Service Unavailable", false},
		"refused":           {registrytest.Answer(418, nil, manifests), failure, "418", false},
		"a page":            {registrytest.Say(200, "text/html", "<html>", manifests), failure, "200 text/html, which is not a manifest; check for a login page or proxy in front of it", false},
		"pages for blobs":   {registrytest.Say(200, "text/html", "<html>", blobs), failure, "200 text/html, which is not the blob; check for a login page or proxy in front of it", true},
		"storage refuses":   {registrytest.Answer(307, elsewhere, blobs), failure, "403 Forbidden; the registry redirects there, so that another login changes nothing: try again, or ask who runs the registry", true},
		"HEAD is refused":   {registrytest.Answer(501, nil, manifests, registrytest.Method(http.MethodHead)), 0, "", false},
		"HEAD is forbidden": {registrytest.Answer(403, nil, registrytest.Method(http.MethodHead)), 0, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := checkScene(t)
			r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(r.Image("org/app/web", registrytest.TarLayer(map[string]string{"a": "b"})), "web")).Digest)
			r.Intercept(test.fault)
			ref := r.Host() + "/org/app:v1"
			for command, args := range map[string][]string{
				"pull":    {"-q", "--all-platforms", "--to", "oci-layout:" + filepath.Join(t.TempDir(), "pulled"), ref},
				"copy":    {ref, "oci-layout:" + filepath.Join(t.TempDir(), "copied")},
				"check":   {ref},
				"tree":    {ref},
				"resolve": {"--platform", "linux/amd64", ref},
			} {
				want := test.status
				if test.blobs && (command == "tree" || command == "resolve") {
					want = 0
				}
				var stdout, stderr bytes.Buffer
				got := run(t.Context(), append([]string{command, "--plain-http", "--hosts-dir="}, args...), &stdout, &stderr)
				text := stderr.String() + stdout.String()
				if got != want {
					t.Errorf("%s: exit status %d, want %d: %s", command, got, want, text)
				}
				for part := range strings.SplitSeq(test.says, " ; ") {
					if want != 0 && !strings.Contains(text, part) {
						t.Errorf("%s: no %q in %s", command, part, text)
					}
				}
				for _, wrong := range []string{"not implemented", "HUNTER2", "Head ", "HEAD request"} {
					if strings.Contains(text, wrong) {
						t.Errorf("%s: %q in %s", command, wrong, text)
					}
				}
				if strings.Contains(text, "log in:") && test.status != denied {
					t.Errorf("%s: a login does not help: %s", command, text)
				}
			}
		})
	}
}

// TestPageForUploads: a destination that answers 200 with a page, to everything or to what writes, has taken nothing.
func TestPageForUploads(t *testing.T) {
	for _, reads := range []bool{true, false} {
		r, to := checkScene(t), clienttest.NewRegistry(t)
		r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(r.Image("org/app/web", registrytest.TarLayer(map[string]string{"a": "b"})), "web")).Digest)
		to.Intercept(registrytest.Say(http.StatusOK, "text/html", "<html>", func(q registrytest.Request) bool {
			return reads || q.Method != http.MethodGet && q.Method != http.MethodHead
		}))
		var stdout, stderr bytes.Buffer
		got := run(t.Context(), []string{"copy", "--plain-http", "--hosts-dir=", r.Host() + "/org/app:v1", to.Host() + "/org/app:v1"}, &stdout, &stderr)
		if got != failure || !strings.Contains(stderr.String(), "200 text/html, which is ") {
			t.Errorf("reads %t: exit status %d: %s%s", reads, got, &stdout, &stderr)
		}
	}
}
