package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nestedoci/nested/internal/registrytest"
)

// recorder is a server that remembers the requests it got.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func newRecorder(t *testing.T, handler http.HandlerFunc) *recorder {
	t.Helper()
	return newRecorderOn(t, httptest.NewServer, handler)
}

// newRecorderOn starts the server by itself, such as httptest.NewTLSServer does.
func newRecorderOn(t *testing.T, start func(http.Handler) *httptest.Server, handler http.HandlerFunc) *recorder {
	t.Helper()
	r := new(recorder)
	r.Server = start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req)
		r.mu.Unlock()
		handler(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) got() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

func redirectTo(url string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// clientOf is what fetches from a registry.
func clientOf(r *Registry) *http.Client {
	return &http.Client{Transport: r.Transport(), CheckRedirect: r.CheckRedirect}
}

// get sends a request with everything that may have to be taken away.
func get(t *testing.T, r *Registry, url string) error {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
	for _, name := range []string{"Authorization", "Cookie", "X-Caller", "Accept", "Range"} {
		req.Header.Set(name, "bytes=0-"+secret)
	}
	resp, err := clientOf(r).Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func TestRedirectToAnotherOrigin(t *testing.T) {
	t.Parallel()
	blobs := newRecorder(t, ok)
	second := newRecorder(t, redirectTo(blobs.URL+"/blob"))
	server := newRecorder(t, redirectTo(second.URL+"/blob"))
	registry := newRegistry(t, server.URL, RegistryOptions{Header: http.Header{"X-Registry": {secret}, "Cookie": {"more"}}})
	if err := get(t, registry, server.URL); err != nil {
		t.Fatal(err)
	}
	if got := server.got()[0].Header; got.Get("X-Registry") != secret || got.Get("Authorization") == "" || len(got["Cookie"]) != 1 || got.Get("Cookie") != "more" {
		t.Errorf("the registry got %v", got)
	}
	for _, req := range append(second.got(), blobs.got()...) {
		for name := range req.Header {
			switch name {
			case "Accept", "Accept-Encoding", "Range", "User-Agent":
			default:
				t.Errorf("%s%s got the header %s", req.Host, req.URL, name)
			}
		}
		if req.Header.Get("Accept") == "" || req.Header.Get("Range") == "" {
			t.Errorf("%s%s got only %v", req.Host, req.URL, req.Header)
		}
	}
}

// TestRedirectThereAndBack: who was redirected to does not choose what the registry is asked with its credentials.
func TestRedirectThereAndBack(t *testing.T) {
	t.Parallel()
	var server, other *recorder
	server = newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/back" {
			redirectTo(other.URL)(w, req)
		}
	})
	other = newRecorder(t, func(w http.ResponseWriter, req *http.Request) { redirectTo(server.URL+"/back")(w, req) })
	if err := get(t, newRegistry(t, server.URL, RegistryOptions{}), server.URL+"/v2/"); err != nil {
		t.Fatal(err)
	}
	back := server.got()[1]
	for _, name := range []string{"Authorization", "Cookie", "X-Caller"} {
		if back.Header.Get(name) != "" {
			t.Errorf("%s came with %s", back.URL, name)
		}
	}
}

// TestHeadersInTheClear: over http they go to the host and port of a registry over https only where that falls back.
func TestHeadersInTheClear(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		server := newRecorder(t, ok)
		registry := newRegistry(t, "https://"+strings.TrimPrefix(server.URL, "http://"), RegistryOptions{Header: http.Header{"X-Registry": {secret}}, HTTPFallback: fallback})
		if err := get(t, registry, server.URL); err != nil {
			t.Fatal(err)
		}
		if got := server.got()[0].Header.Get("X-Registry"); (got == secret) != fallback {
			t.Errorf("fallback %t: got %q", fallback, got)
		}
	}
}

func TestRedirectWithinTheRegistry(t *testing.T) {
	t.Parallel()
	server := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/blob" {
			redirectTo("/blob")(w, req)
		}
	})
	registry := newRegistry(t, server.URL, RegistryOptions{Header: http.Header{"X-Registry": {"x"}}})
	if err := get(t, registry, server.URL); err != nil {
		t.Fatal(err)
	}
	if got := server.got(); len(got) != 2 || got[1].Header.Get("Authorization") == "" || len(got[1].Header["X-Registry"]) != 1 {
		t.Errorf("the registry got %v", got[len(got)-1].Header)
	}
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	server := newRecorder(t, redirectTo("/again"))
	err := get(t, newRegistry(t, server.URL, RegistryOptions{}), server.URL)
	wantError(t, err, "more than 9 redirects")
	if n := len(server.got()); n > 11 {
		t.Errorf("%d requests", n)
	}
}

func TestRedirectPolicy(t *testing.T) {
	t.Parallel()
	const refused = "refused to follow a redirect"
	for _, test := range []struct{ chain, want string }{
		{"https://reg https://reg", ""},
		{"https://reg https://cdn", ""},
		{"http://reg http://cdn", ""},
		{"http://reg https://cdn", ""},
		{"https://reg http://reg", refused + " from https to http"},
		{"https://reg http://cdn", refused + " from https to http"},
		{"https://reg https://cdn http://cdn", refused},
		{"http://reg https://cdn http://cdn", refused},
		{"https://reg file:///etc/passwd", refused + " from https to file"},
		{"http://reg ftp://reg/x", refused + " from http to ftp"},
		{"https://reg https://user:" + secret + "@cdn", refused + " with a user in it"},
		{"https://reg https://" + secret + "@reg", refused + " with a user in it"},
	} {
		var chain []*http.Request
		for _, u := range strings.Fields(test.chain) {
			chain = append(chain, &http.Request{URL: must[*url.URL](t)(url.Parse(u)), Header: http.Header{}})
		}
		last := len(chain) - 1
		err := checkRedirect(chain[last], chain[:last])
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", test.chain, err)
		} else if test.want != "" {
			wantError(t, err, test.want)
		}
	}
}

// publicAt makes all connections to a name look as if they went to a public
// address, and leads them to a server.
func publicAt(name, server string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(address, name) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(server, "http://"))
		return connTo{conn, "93.184.216.34:80"}, err
	}}
}

// A public registry leads nobody to an address of the inside: not by a
// redirect to a literal, not by one to a name, not by a token endpoint.
func TestPublicRegistryLeadsInside(t *testing.T) {
	t.Parallel()
	inside := newRecorder(t, ok)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		target := strings.Replace(inside.URL, "127.0.0.1", host, 1)
		refused := "refused to connect to " + strings.TrimPrefix(target, "http://")
		server := newRecorder(t, redirectTo(target))
		source := &heldCredentials{held: map[string]Credential{"": withPassword}}
		registry := NewRegistry("http", "reg.test", publicAt("reg.test", server.URL), source, RegistryOptions{})
		wantError(t, get(t, registry, "http://reg.test/blob"), refused)

		key := keyFor(withPassword)
		key.realm = target
		_, err := registry.tokens.get(ctx(), key)
		wantError(t, err, refused)
	}
	if n := len(inside.got()); n > 0 {
		t.Errorf("%d requests reached the inside", n)
	}
}

// Behind a proxy the address of the proxy is not the target's.
func TestProxyMayBeInside(t *testing.T) {
	t.Parallel()
	proxy := newRecorder(t, ok)
	base := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		return url.Parse(strings.Replace(proxy.URL, "127.0.0.1", "LOCALHOST", 1))
	}}
	registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
	if err := get(t, registry, "http://reg.test/blob"); err != nil {
		t.Fatal(err)
	}
	wantError(t, get(t, registry, "http://169.254.169.254/blob"), "refused to connect to 169.254.169.254:80")
	if got := proxy.got(); len(got) != 1 || got[0].Host != "reg.test" {
		t.Errorf("the proxy got %d requests", len(got))
	}
}

func TestRangeIsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked, answered string
		status          int
		want            string
	}{
		{"bytes=5-", "bytes 5-9/10", 206, ""},
		{"bytes=5-7", "bytes 5-7/10", 206, ""},
		{"bytes=-5", "bytes 5-9/10", 206, ""},
		{"bytes=0-1,5-6", "", 206, ""},
		{"bytes=5-", "", 200, ""},
		{"", "", 200, ""},
		{"bytes=5-", "bytes 0-9/10", 206, "for bytes from 5"},
		{"bytes=5-", "bytes 50-99/100", 206, "for bytes from 5"},
		{"bytes=5-", "", 206, "for bytes from 5"},
		{"bytes=5-", strings.Repeat("x", 10_000), 206, "for bytes from 5"},
	} {
		server := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", test.answered)
			w.WriteHeader(test.status)
		})
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil))
		req.Header.Set("Range", test.asked)
		resp, err := clientOf(newRegistry(t, server.URL, RegistryOptions{})).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		switch {
		case test.want != "":
			wantError(t, err, test.want)
		case err != nil:
			t.Errorf("%q %q: %v", test.asked, test.answered, err)
		}
	}
}

// What is torn off in the middle looks like what containerd resumes.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	blob := s.PutBlob("p", "application/octet-stream", make([]byte, 1<<20))
	read := func(ctx context.Context, stop func()) error {
		t.Helper()
		req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/v2/p/blobs/"+blob.Digest.String(), nil))
		resp, err := s.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err = io.CopyN(io.Discard, resp.Body, 1000); err != nil {
			return err
		}
		stop()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	nothing := func() {}
	if err := read(t.Context(), nothing); err != nil {
		t.Error(err)
	}
	s.Intercept(s.Truncate(1000, registrytest.First(1)))
	if err := read(t.Context(), nothing); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reset connection reads as %v", err)
	}
	s.Intercept(s.StallAt(1000))
	ctx, cancel := context.WithCancel(t.Context())
	if err := read(ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the caller's patience reads as %v", err)
	}
}

// The caller's deadline is no reason to resume, though it is a net.Error.
func TestBodyAfterTheDeadline(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	<-ctx.Done()
	body := resumable{io.NopCloser(iotest.ErrReader(context.DeadlineExceeded)), ctx}
	if _, err := body.Read(nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Where the registry is not verified, a token endpoint elsewhere is, unless
// the configuration names it. Nobody but the registry and its token endpoint gets
// the certificate.
func TestUnverifiedRegistry(t *testing.T) {
	t.Parallel()
	base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{{}},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }}}
	registry := NewRegistry("https", "reg.test:5000", base, &heldCredentials{}, RegistryOptions{Realms: []string{"listed.test", "port.test:444"}})
	for _, test := range []struct {
		url               string
		content, endpoint bool // verified
		certificate       bool // shown
	}{
		{url: "https://reg.test:5000/v2/", certificate: true},
		{url: "https://REG.test:6000/token"},
		{url: "https://listed.test/token"},
		{url: "https://port.test:444/token"},
		{url: "https://port.test/token", endpoint: true},
		{url: "https://port.test:4444/token", endpoint: true},
		{url: "https://listed.test.evil.test/token", endpoint: true},
		{url: "https://evil-listed.test/token", endpoint: true},
		{url: "https://reg.test.evil.test/token", endpoint: true},
		{url: "https://other.test/token", endpoint: true},
	} {
		u := must[*url.URL](t)(url.Parse(test.url))
		content, endpoint := registry.transport.to(u).own.TLSClientConfig, registry.endpoint.to(u).shared.TLSClientConfig
		if got := !content.InsecureSkipVerify; got != test.content {
			t.Errorf("content at %s: verified is %t", u, got)
		}
		if got := !endpoint.InsecureSkipVerify; got != test.endpoint {
			t.Errorf("tokens at %s: verified is %t", u, got)
		}
		if got := len(content.Certificates) > 0; got != test.certificate || got != (content.GetClientCertificate != nil) {
			t.Errorf("content at %s: shown our certificate: %t", u, got)
		}
		if got := registry.guarded.to(u).own.TLSClientConfig; (len(got.Certificates) > 0) != test.certificate {
			t.Errorf("an upload to %s: shown our certificate: %t", u, !test.certificate)
		}
		if len(endpoint.Certificates) == 0 {
			t.Errorf("tokens at %s: not shown our certificate", u)
		}
	}
}

// Content is sent to where a registry wants it, but not over http when the
// registry is at https, nor to the inside; nor is what begins an upload there, or ends it.
func TestUploadElsewhere(t *testing.T) {
	t.Parallel()
	for _, test := range [][2]string{{http.MethodPut, "content"}, {http.MethodPut, ""}, {http.MethodPost, ""}, {http.MethodDelete, ""}} {
		testUploadElsewhere(t, test[0], test[1])
	}
}

func testUploadElsewhere(t *testing.T, method, content string) {
	t.Helper()
	inside := newRecorder(t, ok)
	send := func(r *Registry, url string) error {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(content)))
		resp, err := clientOf(r).Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if err := send(newRegistry(t, "http://127.0.0.1:1", RegistryOptions{}), inside.URL); err != nil {
		t.Errorf("beside the registry: %v", err)
	}
	wantError(t, send(newRegistry(t, "https://127.0.0.1:1", RegistryOptions{}), inside.URL), "over http")
	private := strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)
	public := NewRegistry("http", "reg.test", publicAt("reg.test", inside.URL), &heldCredentials{}, RegistryOptions{})
	if err := get(t, public, "http://reg.test/blob"); err != nil {
		t.Fatal(err)
	}
	wantError(t, send(public, private), "refused to connect")
	wantError(t, send(public, "http://10.0.0.1/upload"), "refused to connect")
}

// TestOrigins: scheme, host and port are one origin, however they are spelled.
func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		registry, url  string
		owns, fallback bool // without and with the fallback to http
	}{
		{"https://reg.test", "https://reg.test:443/v2/", true, true},
		{"https://reg.test", "https://REG.test/v2/", true, true},
		{"https://reg.test:443", "https://reg.test/v2/", true, true},
		{"https://reg.test:443", "HTTPS://Reg.Test:443/v2/", true, true},
		{"http://reg.test", "http://reg.test:80/v2/", true, true},
		{"http://reg.test:80", "http://reg.test/v2/", true, true},
		{"https://reg.test:5000", "https://reg.test:5000/v2/", true, true},
		{"https://[fd00::1]", "https://[FD00::1]:443/v2/", true, true},
		{"https://reg.test:5000", "http://reg.test:5000/v2/", false, true},
		{"https://reg.test", "http://reg.test/v2/", false, true},
		{"https://reg.test", "http://reg.test:443/v2/", false, false},
		{"https://reg.test", "https://reg.test:80/v2/", false, false},
		{"https://reg.test", "https://reg.test:8443/v2/", false, false},
		{"https://reg.test", "https://x.reg.test/v2/", false, false},
		{"http://reg.test", "https://reg.test/v2/", false, false},
		{"http://reg.test:443", "http://reg.test/v2/", false, false},
		{"https://reg.test", "https://reg.test.evil.test/v2/", false, false},
	} {
		u := must[*url.URL](t)(url.Parse(test.url))
		for _, fallback := range []bool{false, true} {
			want := test.owns || fallback && test.fallback
			if got := newRegistry(t, test.registry, RegistryOptions{HTTPFallback: fallback}).Owns(u); got != want {
				t.Errorf("%s, fallback %t: owns %s: %t", test.registry, fallback, test.url, got)
			}
		}
	}
}

// TestRefusedBodyIsClosed: a request to an address that is refused has its body closed, as whoever writes into that waits
// until it is read or closed.
func TestRefusedBodyIsClosed(t *testing.T) {
	t.Parallel()
	server := newRecorder(t, ok)
	base := publicAt("reg.test", server.URL)
	registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
	body, writer := io.Pipe()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPut, "http://169.254.169.254/upload", body))
	_, err := registry.Transport().RoundTrip(req) //nolint:bodyclose // there is none
	wantError(t, err, "refused to connect to 169.254.169.254")
	wrote := make(chan error, 1)
	go func() {
		_, err := writer.Write([]byte("content"))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("whoever writes still waits")
	}
}
