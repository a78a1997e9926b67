package auth

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestCallersDialer: where connections are made by a caller's own functions, for TLS too, nothing is sent to what is less
// public than the registry.
func TestCallersDialer(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		inside := httptest.NewUnstartedServer(http.HandlerFunc(ok))
		reached := false
		inside.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
		if scheme == "https" {
			inside.StartTLS()
		} else {
			inside.Start()
		}
		t.Cleanup(inside.Close)
		server := newRecorder(t, redirectTo(scheme+"://inside.test/blob"))
		base := publicAt("reg.test", server.URL)
		public := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "inside.test") {
				address = inside.Listener.Addr().String()
			}
			return public(ctx, network, address)
		}
		base.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the test's own server
			return d.DialContext(ctx, network, inside.Listener.Addr().String())
		}
		registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
		t.Cleanup(registry.CloseIdleConnections)
		wantError(t, get(t, registry, "http://reg.test/blob"), "refused to connect to inside.test")
		if reached {
			t.Errorf("%s: the inside was asked", scheme)
		}
	}
}

// TestElsewhereShowsNothing: where a manifest says content to be is not shown the client certificate, not even when that is
// the registry's own address; a redirect of the registry there is.
func TestElsewhereShowsNothing(t *testing.T) {
	t.Parallel()
	certificates := map[string]int{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		certificates[req.URL.Path] = len(req.TLS.PeerCertificates)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: server.TLS.Certificates}} //nolint:gosec // the test's own server
	registry := NewRegistry("https", strings.TrimPrefix(server.URL, "https://"), base, &heldCredentials{}, RegistryOptions{})
	t.Cleanup(registry.CloseIdleConnections)
	if err := get(t, registry, server.URL+"/own"); err != nil {
		t.Fatal(err)
	}
	if _, err := askElsewhere(t, registry, server.URL+"/layer"); err != nil {
		t.Fatal(err)
	}
	if certificates["/own"] != 1 || certificates["/layer"] != 0 {
		t.Errorf("shown: %v", certificates)
	}
}

// TestElsewhereThroughProxy: what stands in the URL is judged before a proxy is asked for it.
func TestElsewhereThroughProxy(t *testing.T) {
	t.Parallel()
	proxy := newRecorder(t, ok)
	base := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }}
	registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
	t.Cleanup(registry.CloseIdleConnections)
	for _, target := range []string{"http://169.254.169.254/", "http://10.0.0.1/", "http://127.1/", "http://[::1]/", "http://localhost/"} {
		_, err := askElsewhere(t, registry, target)
		wantError(t, err, "refused to connect to")
	}
	if n := len(proxy.got()); n > 0 {
		t.Errorf("the proxy got %d requests", n)
	}
	if status, err := askElsewhere(t, registry, "http://cdn.test/layer"); err != nil || status != http.StatusOK || len(proxy.got()) != 1 {
		t.Errorf("%d, %v", status, err)
	}
}
