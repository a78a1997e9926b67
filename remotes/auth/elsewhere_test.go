package auth

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// askElsewhere asks a target as a layer's urls have it, with all that is meant for the registry.
func askElsewhere(t *testing.T, r *Registry, target string) (status int, err error) {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	for _, name := range []string{"Authorization", "Cookie", "X-Caller", "Accept", "Range"} {
		req.Header.Set(name, "bytes=0-"+secret)
	}
	resp, err := foreignClient(r).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func foreignClient(r *Registry) *http.Client {
	return &http.Client{Transport: r.Foreign(), CheckRedirect: r.CheckRedirect}
}

// TestElsewhere: where a manifest says content to be gets nothing that is meant for the registry, which is not asked.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	server := newRecorder(t, ok)
	second := newRecorder(t, ok)
	cdn := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/moved" {
			redirectTo(second.URL+"/layer")(w, req)
		}
	})
	registry := newRegistry(t, server.URL, RegistryOptions{Header: http.Header{"X-Registry": {secret}}})
	for _, target := range []string{cdn.URL + "/layer?signed=1", cdn.URL + "/moved", server.URL + "/other"} {
		if status, err := askElsewhere(t, registry, target); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", target, status, err)
		}
	}
	if got := server.got(); len(got) != 1 || got[0].URL.Path != "/other" {
		t.Errorf("the registry got %d requests", len(got))
	}
	if got := cdn.got(); len(got) != 2 || got[0].URL.RawQuery != "signed=1" {
		t.Errorf("the other host got %d requests", len(got))
	}
	for _, req := range append(append(server.got(), cdn.got()...), second.got()...) {
		for name := range req.Header {
			if name != "Accept" && name != "Accept-Encoding" && name != "Range" && name != "User-Agent" {
				t.Errorf("%s%s got the header %s", req.Host, req.URL, name)
			}
		}
	}
}

// TestElsewhereInside: a public registry's manifests lead nobody to what is less public.
func TestElsewhereInside(t *testing.T) {
	t.Parallel()
	address, connections := countedListener(t)
	_, port, _ := net.SplitHostPort(address)
	server := newRecorder(t, ok)
	cdn := newRecorder(t, redirectTo("http://inside.test:"+port+"/"))
	dialer := &net.Dialer{Resolver: resolverTo(t, [4]byte{127, 0, 0, 1})}
	registry := NewRegistry("http", "reg.test", publicAt("reg.test", server.URL), &heldCredentials{}, RegistryOptions{Dialer: dialer, Realms: []string{strings.TrimPrefix(cdn.URL, "http://")}})
	if err := get(t, registry, "http://reg.test/v2/"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"http://" + address, "http://inside.test:" + port, "http://localhost:" + port, "http://10.0.0.1/", "http://169.254.169.254/", "http://0x7f.1:" + port, cdn.URL} {
		_, err := askElsewhere(t, registry, target)
		wantError(t, err, "refused to connect to")
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}
