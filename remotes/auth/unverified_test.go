package auth

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newUnknown is a server whose certificate nobody knows.
func newUnknown(t *testing.T, handler http.HandlerFunc) *recorder {
	t.Helper()
	return newRecorderOn(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that clients end
		s.StartTLS()
		return s
	}, handler)
}

// TestUnverifiedReachesNoOther: skip_verify of a registry is for that host. Of others that it names, only what is verified
// by its digest is taken unverified: they get no credential, nothing that is sent, and are not asked for tokens.
func TestUnverifiedReachesNoOther(t *testing.T) {
	t.Parallel()
	other := newUnknown(t, func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/v2/") && req.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="another registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	registry := newUnknown(t, func(w http.ResponseWriter, req *http.Request) {
		to := other.URL + "/blob"
		if strings.HasPrefix(req.URL.Path, "/v2/another/") {
			to = other.URL + req.URL.Path
		}
		redirectTo(to)(w, req)
	})
	_, port, err := net.SplitHostPort(registry.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	origin := "https://localhost:" + port // another name, and as near
	held := &sources{byHost: map[string]Credential{
		"localhost:" + port:            UserCredential("ours", secret, "registry"),
		other.Listener.Addr().String(): UserCredential("theirs", secret, "other"),
	}}
	base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is what is tested
	request := func(method, url string) *http.Request {
		var body io.Reader
		if method == http.MethodPut {
			body = strings.NewReader(secret)
		}
		return must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, url, body))
	}
	send := func(client *http.Client, req *http.Request) error {
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	for name, c := range map[string]struct {
		ask   func(r *Registry) error
		asked int // requests that the other host sees
		fails bool
	}{
		"a blob": {func(r *Registry) error { return send(clientOf(r), request(http.MethodGet, origin+"/v2/p/blobs/x")) }, 1, false},
		"an upload, redirected": {func(r *Registry) error {
			return send(clientOf(r), request(http.MethodPut, origin+"/v2/p/blobs/uploads/1"))
		}, 0, true},
		"an upload that goes on": {func(r *Registry) error { return send(clientOf(r), request(http.MethodPut, other.URL+"/upload")) }, 0, true},
		"another registry's": {func(r *Registry) error {
			return send(clientOf(r), request(http.MethodGet, origin+"/v2/another/blobs/x"))
		}, 1, true},
		"what a manifest names": {func(r *Registry) error {
			return send(foreignClient(r), request(http.MethodGet, other.URL+"/layer"))
		}, 0, true},
		"a token": {func(r *Registry) error { return askForToken(t, r, other.URL+"/token") }, 0, true},
	} {
		r := NewRegistry("https", "localhost:"+port, base, held, RegistryOptions{}) // knows of no other that asks for tokens
		t.Cleanup(r.CloseIdleConnections)
		before := len(other.got())
		err := c.ask(r)
		if got := len(other.got()) - before; got != c.asked {
			t.Errorf("%s: the other host got %d requests, want %d", name, got, c.asked)
		}
		if c.fails {
			wantError(t, err, "certificate")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, req := range other.got() {
		if req.Header.Get("Authorization") != "" {
			t.Errorf("%s shows a credential to a host that is not verified", req.URL)
		}
	}
}

// askForToken asks for a token where a challenge says.
func askForToken(t *testing.T, r *Registry, realm string) error {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, r.origin.String()+"/v2/p/blobs/x", nil))
	challenge := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Bearer realm="` + realm + `"`}}, Request: req, Body: http.NoBody}
	a := r.Authorizer(must[Repository](t)(ParseRepository(r.origin.Host + "/p")))
	if err := a.AddResponses(t.Context(), []*http.Response{challenge}); err != nil {
		return err
	}
	return a.Authorize(t.Context(), req)
}
