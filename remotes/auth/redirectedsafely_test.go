package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// tokenServer is a registry with its token endpoint, over TLS, with a certificate for example.com and 127.0.0.1.
type tokenServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	s := new(tokenServer)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, req)
		s.mu.Unlock()
		switch {
		case req.URL.Path == "/token":
			_, _ = w.Write([]byte(`{"token":"t"}`))
		case req.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+req.Host+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// got lists the requests: whether for a token, and whether with something shown.
func (s *tokenServer) got() (paths []string, all []*http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, req := range s.requests {
		path, signed := "content", ""
		if req.URL.Path == "/token" {
			path = "token"
		}
		if req.Header.Get("Authorization") != "" {
			signed = " signed"
		}
		paths = append(paths, path+signed)
	}
	return paths, s.requests
}

// TestRedirectedUnverified: where the registry itself is not verified, another one that it redirects to is, before it gets
// a credential; and it gets none of the headers and certificates that are for the first.
func TestRedirectedUnverified(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		held Credential
		want []string
	}{
		"nothing is held":      {want: []string{"content", "token", "content signed"}},
		"a credential is held": {held: withPassword, want: []string{"content"}},
	} {
		other := newTokenServer(t)
		first := front(t, other.URL)
		base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: other.TLS.Certificates}} //nolint:gosec // the test's own server
		held := &sources{byHost: map[string]Credential{other.Listener.Addr().String(): test.held}}
		r := NewRegistry("http", first.Listener.Addr().String(), base, held, RegistryOptions{Header: http.Header{"X-Registry": {"canary"}}})
		t.Cleanup(r.CloseIdleConnections)
		err := get(t, r, first.URL+"/v2/org/app/manifests/v1")
		if test.held.Anonymous() && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !test.held.Anonymous() {
			wantError(t, err, "certificate")
		}
		paths, all := other.got()
		if strings.Join(paths, ", ") != strings.Join(test.want, ", ") {
			t.Errorf("%s: asked for %q, want %q", name, paths, test.want)
		}
		for _, req := range all {
			if req.Header.Get("X-Registry") != "" || req.Header.Get("X-Caller") != "" || len(req.TLS.PeerCertificates) > 0 {
				t.Errorf("%s: %s got %v and %d certificates", name, req.URL, req.Header, len(req.TLS.PeerCertificates))
			}
		}
	}
}

// TestRedirectedInside: a credential goes to no registry at an address less public than that of the one that redirects.
func TestRedirectedInside(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"10.0.0.5:443":      "content",
		"93.184.216.35:443": "content, token, content signed",
	} {
		other := newTokenServer(t)
		first := front(t, "https://example.com")
		base := publicAt("reg.test", first.URL)
		public := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if !strings.HasPrefix(address, "example.com") {
				return public(ctx, network, address)
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, other.Listener.Addr().String())
			return connTo{conn, at}, err
		}
		roots := x509.NewCertPool()
		roots.AddCert(other.Certificate())
		base.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		held := &sources{byHost: map[string]Credential{"example.com": withPassword}}
		r := NewRegistry("http", "reg.test", base, held, RegistryOptions{})
		t.Cleanup(r.CloseIdleConnections)
		err := get(t, r, "http://reg.test/v2/org/app/manifests/v1")
		if strings.HasPrefix(at, "10.") {
			wantError(t, err, "refused to connect to example.com:443")
		} else if err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if paths, _ := other.got(); strings.Join(paths, ", ") != want {
			t.Errorf("%s: asked for %q, want %s", at, paths, want)
		}
	}
}

// TestRedirectedOptions: what the configuration says of a registry does not hold for those that it redirects to.
func TestRedirectedOptions(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "https://localhost", RegistryOptions{Header: http.Header{"X-Registry": {"canary"}}, HTTPFallback: true, OtherNames: true, Realms: []string{"realm.test"}})
	u := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://other.test/v2/x/manifests/v1", nil)).URL
	for _, careful := range []bool{false, true} {
		o := r.other(otherKey{"https", "other.test", careful}, u).options
		if o.Header != nil || o.HTTPFallback || o.OtherNames || len(o.Realms) != 1 {
			t.Errorf("careful %t: %+v", careful, o)
		}
	}
}
