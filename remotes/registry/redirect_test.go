package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestRedirectToStorageIsHandedOn: a redirect is handed on when its target may be anybody's storage: not when the registry's certificates are
// its own, which others may not be able to verify, and not when the target has asked for a token before.
func TestRedirectToStorageIsHandedOn(t *testing.T) {
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
	h := Host{Authorizer: reg.Authorizer(repository)}
	h.Host, h.Client = "reg.test", &http.Client{Transport: reg.Transport(), CheckRedirect: reg.CheckRedirect}
	request := func(url string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	handed := func(h Host, pass bool, to string, via ...*http.Request) bool {
		client := h.Client
		if pass {
			client = h.handingOn()
		}
		err := client.CheckRedirect(request(to), append([]*http.Request{request("https://reg.test/v2/p/blobs/x")}, via...))
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
		h          Host
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

// TestWhichRedirectsMayBeFollowed: which redirects a client may be left to follow.
func TestWhichRedirectsMayBeFollowed(t *testing.T) {
	h := Host{}
	h.Host = "reg.test:5000"
	for target, want := range map[string]bool{
		"https://cdn.test/x?signature=1": true,
		"https://a.b.cdn-1.test:8443/x":  true,
		"http://cdn.test/x":              false,
		"ftp://cdn.test/x":               false,
		"https://user@cdn.test/x":        false,
		"https://reg.test/x":             false,
		"https://REG.test:1/x":           false,
		"https://localhost/x":            false,
		"https://a.localhost/x":          false,
		"https://127.0.0.1/x":            false,
		"https://[::1]/x":                false,
		"https://2130706433/x":           false,
		"https://0x7f.1/x":               false,
		"https://8.8.8.8/x":              false,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.isPublic(u); got != want {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
}
