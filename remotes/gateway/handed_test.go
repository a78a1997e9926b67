package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestHandedOn: a redirect is handed on when its target may be anybody's storage: not when the registry's certificates are
// its own, which others may not be able to verify, and not when the target has asked for a token before.
func TestHandedOn(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "reg.test" {
			http.Redirect(w, r, "https://second.test"+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="second"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	base := server.Client().Transport.(*http.Transport).Clone()
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	base.TLSClientConfig.ServerName = "example.com" // whatever the name
	reg := auth.NewRegistry("https", "reg.test", base, auth.Sources{}, auth.RegistryOptions{})
	defer reg.CloseIdleConnections()
	repository, err := auth.ParseRepository("reg.test/p")
	if err != nil {
		t.Fatal(err)
	}
	h := registry.Host{Authorizer: reg.Authorizer(repository)}
	h.Host, h.Client = "reg.test", &http.Client{Transport: reg.Transport(), CheckRedirect: reg.CheckRedirect}
	request := func(url string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	handed := func(h registry.Host, pass bool, to string, via ...*http.Request) bool {
		err := query{pass: pass}.client(h).CheckRedirect(request(to), append([]*http.Request{request("https://reg.test/v2/p/blobs/x")}, via...))
		if err != nil && !errors.Is(err, http.ErrUseLastResponse) {
			t.Fatal(err)
		}
		return err != nil
	}
	if resp, err := h.Client.Do(request("https://reg.test/v2/p/blobs/x")); err == nil {
		t.Fatalf("it ends with %d, %v", resp.StatusCode, resp.Body.Close())
	}
	own := h
	own.OwnTrust = true
	for name, c := range map[string]struct {
		h          registry.Host
		pass, want bool
		to         string
	}{
		"storage":             {h, true, true, "https://storage.test/x"},
		"followed here":       {h, false, false, "https://storage.test/x"},
		"a CA of its own":     {own, true, false, "https://storage.test/x"},
		"another registry":    {h, true, false, "https://second.test/v2/p/blobs/y"},
		"its name, elsewhere": {h, true, false, "https://reg.test:444/x"},
	} {
		if got := handed(c.h, c.pass, c.to); got != c.want {
			t.Errorf("%s: handed on: %t, want %t", name, got, c.want)
		}
	}
	if handed(h, true, "https://storage.test/x", request("https://10.0.0.1/x")) {
		t.Error("where another than the registry redirects to is handed on")
	}
}

// TestCallersHeaders: of what a caller sends, a registry sees which part of a blob is wanted, and nothing else; of what a
// registry sends beside content, a caller sees what is said of that, and no challenge or cookie.
func TestCallersHeaders(t *testing.T) {
	s := newScene(t, Node)
	root := s.publish()
	blob := s.registry.PutBlob("org/app", "application/octet-stream", []byte("content"))
	s.registry.ResetLog()
	s.registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		for _, name := range []string{"Set-Cookie", "Www-Authenticate", "X-Internal", "Access-Control-Allow-Origin", "Authentication-Info"} {
			w.Header().Set(name, "canary")
		}
		return false
	})
	sees := func(path string, got reply) {
		for name := range got.header {
			if got.header.Get(name) == "canary" {
				t.Errorf("%s: the caller sees the registry's %s", path, name)
			}
		}
	}
	sent := []string{"Range", "bytes=1-3", "Authorization", "Bearer canary", "Cookie", "session=canary", "Proxy-Authorization", "Basic canary", "X-Registry-Auth", "canary",
		"X-Forwarded-For", "canary", "Referer", "http://canary/", "User-Agent", "canary", "If-None-Match", `"canary"`, "Accept", "text/canary", "Accept-Language", "canary"}
	if got := s.do(http.MethodGet, "/v2/org/app/blobs/"+string(blob.Digest), sent...); got.status != http.StatusPartialContent || got.body != "ont" {
		t.Errorf("%+v", got)
	} else {
		sees("blob", got)
	}
	for _, path := range []string{"manifests/v1", "manifests/" + string(root.Digest), "tags/list", "referrers/" + string(root.Digest)} {
		if got := s.do(http.MethodGet, "/v2/org/app/"+path, sent[2:]...); got.status != http.StatusOK {
			t.Errorf("%s: %+v", path, got)
		} else {
			sees(path, got)
		}
	}
	for _, q := range s.registry.Log() {
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
