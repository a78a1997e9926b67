package find

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

const page = "<!DOCTYPE html>\n<html><title>Sign in</title></html>"

// TestLoginPageIsNotPassedOn: a login page in place of what was asked for is never passed on with 200.
func TestLoginPageIsNotPassedOn(t *testing.T) {
	t.Parallel()
	for _, mode := range []frontMode{node, pod} {
		s := newScene(t, mode)
		root := s.Publish()
		s.Registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/a", "org/app/a/b")
		if mode == pod {
			s.User = [2]string{"all", "all-secret"}
		}
		member := s.Children(s.Get("manifests", root.Digest).Body)[0]
		layer := s.Children(s.Get("manifests", member.Digest).Body)[0]
		s.Registry.Intercept(registrytest.Say(http.StatusOK, "text/html; charset=utf-8", page, func(q registrytest.Request) bool { return q.Kind != registrytest.KindToken && q.Authorization != "" }))
		for _, path := range []string{"manifests/v1", "manifests/" + root.Digest.String(), "manifests/" + member.Digest.String(), "blobs/" + layer.Digest.String(),
			"blobs/" + digest.FromString("another").String(), "tags/list", "referrers/" + root.Digest.String()} {
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				got := s.Do(method, "/v2/org/app/"+path)
				if got.Status < 400 || method == http.MethodGet && !strings.Contains(got.Body, "answered 200 text/html, which is") {
					t.Errorf("%s %s: %d %s", method, path, got.Status, got.Body)
				}
			}
		}
	}
}

// TestWhatIsNoManifestIsNotPassedOn: nor is JSON that is no manifest, or nothing.
func TestWhatIsNoManifestIsNotPassedOn(t *testing.T) {
	t.Parallel()
	for _, test := range [][2]string{{"application/json", "{}"}, {"application/json", "[]"}, {"application/json", `{"errors":[]}`}, {"", ""}, {"application/octet-stream", page}} {
		s := newScene(t, node)
		s.Registry.Intercept(registrytest.Say(http.StatusOK, test[0], test[1], registrytest.WithCredentials, registrytest.Of(registrytest.KindManifest)))
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if got := s.Do(method, "/v2/org/app/manifests/v1"); got.Status != http.StatusBadGateway {
				t.Errorf("%q: %s: %d %s", test, method, got.Status, got.Body)
			}
		}
	}
}

// TestManifestServedAsOctetsIsRecognised: a manifest that is served as octets is served as what it is.
func TestManifestServedAsOctetsIsRecognised(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"", "application/octet-stream", "application/json"} {
		s := newScene(t, node)
		root := s.Publish()
		s.Registry.Intercept(registrytest.Say(http.StatusOK, mediaType, s.Get("manifests", root.Digest).Body, registrytest.WithCredentials, registrytest.In("org/app"), registrytest.Of(registrytest.KindManifest)))
		if got := s.Pull("v1"); got != root.Digest {
			t.Errorf("%q: %s", mediaType, got)
		}
	}
}

// newPlainScene is a scene whose registry is spoken to over http, so that it may redirect to http.
func newPlainScene(t *testing.T, mode frontMode) *scene {
	t.Helper()
	s := newScene(t, mode)
	s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	s.start(filepath.Join(t.TempDir(), "plain"))
	return s
}

// TestRefusedHeadIsAskedWithGet: a HEAD that upstream refuses is answered by asking with GET, and what storage says is no denial.
func TestRefusedHeadIsAskedWithGet(t *testing.T) {
	t.Parallel()
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, req, "", time.Time{}, strings.NewReader("content"))
	}))
	t.Cleanup(storage.Close)
	for _, status := range []int{400, 401, 403, 405, 501, http.StatusTemporaryRedirect} {
		s := newPlainScene(t, node)
		root := s.Publish()
		blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
		s.Registry.Intercept(registrytest.Answer(status, http.Header{"Location": {storage.URL + "/bucket?signature=1"}}, registrytest.WithCredentials, registrytest.Method(http.MethodHead)))
		if status == http.StatusTemporaryRedirect {
			s.Registry.Intercept(registrytest.Answer(status, http.Header{"Location": {storage.URL + "/bucket?signature=1"}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
		}
		for path, size := range map[string]int64{"manifests/v1": root.Size, "manifests/" + root.Digest.String(): root.Size, "blobs/" + blob.Digest.String(): 7} {
			if status == http.StatusTemporaryRedirect && strings.HasPrefix(path, "manifests") {
				continue
			}
			got := s.Do(http.MethodHead, "/v2/org/app/"+path)
			if got.Status != http.StatusOK || got.Header.Get("Content-Length") != strconv.FormatInt(size, 10) {
				t.Errorf("%d: HEAD %s: %+v", status, path, got)
			}
		}
	}
}

// TestRefusalOfStorageIsNoDenial: the answer of a host that is not the registry is no denial, and nobody is to log in, or asked to show
// what they have.
func TestRefusalOfStorageIsNoDenial(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode   frontMode
		status int
	}{{node, http.StatusUnauthorized}, {node, http.StatusForbidden}, {pod, http.StatusUnauthorized}, {pod, http.StatusForbidden}} {
		s := newPlainScene(t, test.mode)
		s.User = map[frontMode][2]string{pod: {"user of org/app", fronttest.Secret}}[test.mode]
		storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }))
		t.Cleanup(storage.Close)
		blob := s.Registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
		s.Registry.Intercept(registrytest.Answer(http.StatusTemporaryRedirect, http.Header{"Location": {storage.URL + "/bucket?signature=canary"}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
		got := s.Get("blobs", blob.Digest)
		if got.Status < 400 || got.Status == http.StatusUnauthorized || got.Header.Get("WWW-Authenticate") != "" || strings.Contains(got.Body, "denied") || strings.Contains(got.Body, "log in:") || strings.Contains(got.Body, "not implemented") ||
			strings.Contains(got.Body, "canary") || !strings.Contains(got.Body, "answered "+strconv.Itoa(test.status)) || !strings.Contains(got.Body, "the registry redirects there") {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}
