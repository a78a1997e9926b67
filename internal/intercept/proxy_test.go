package intercept

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// seam is a transport that notes what it was asked.
type seam struct {
	lines
	next http.RoundTripper
}

func (s *seam) RoundTrip(r *http.Request) (*http.Response, error) {
	s.add(r.Method + " " + r.URL.String() + " for " + r.Host)
	return s.next.RoundTrip(r)
}

// TestIntercepted: requests for registries reach the transport, with the URL that the command meant; nobody looks into
// what goes elsewhere.
func TestIntercepted(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says("a registry"))
	s.tls(s.ca, "registry.test:5000", says("another one"))
	s.tls(s.ca, "192.0.2.1:5000", says("an address"))
	s.plain("plain.test:80", says("without TLS"))
	s.tls(s.ca, "other.test:443", says("elsewhere, over TLS"))
	s.plain("other.test:80", says("elsewhere"))

	o, log := s.options("registry.test", "plain.test", "192.0.2.1:5000")
	asked := &seam{next: o.Transport}
	o.Transport = asked
	got := gets(t, o, "https://registry.test/v2/?n=1", "https://Registry.Test:443/v2/a%2Fb", "https://registry.test:5000/v2/", "https://192.0.2.1:5000/v2/",
		"http://plain.test/v2/", "http://other.test/", "https://other.test/")
	for i, want := range []seen{
		{200, "a registry", authorityName}, {200, "a registry", authorityName}, {200, "another one", before}, {200, "an address", authorityName},
		{200, "without TLS", ""}, {200, "elsewhere", ""}, {200, "elsewhere, over TLS", before},
	} {
		if got[i] != want {
			t.Errorf("%d: %v, want %v", i, got[i], want)
		}
	}
	asked.want(t, "GET https://registry.test/v2/?n=1 for registry.test", "GET https://registry.test/v2/a%2Fb for Registry.Test:443",
		"GET https://192.0.2.1:5000/v2/ for 192.0.2.1:5000", "GET http://plain.test/v2/ for plain.test")
	log.want(t, "GET https://registry.test/v2/ 200", "GET https://registry.test/v2/a%2Fb 200", "CONNECT registry.test:5000 tunnel",
		"GET https://192.0.2.1:5000/v2/ 200", "GET http://plain.test/v2/ 200", "GET http://other.test/ 200", "CONNECT other.test:443 tunnel")
}

// TestPassword: without the password nobody can use the proxy.
func TestPassword(t *testing.T) {
	s := newScene(t)
	o, log := s.options("registry.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	if host, _, _ := net.SplitHostPort(p.listener.Addr().String()); host != "127.0.0.1" {
		t.Errorf("listens at %s", p.listener.Addr())
	}
	for _, request := range []string{"CONNECT registry.test:443", "CONNECT other.test:443", "GET http://registry.test/v2/", "GET http://other.test/", "GET /"} {
		for _, user := range []*url.Userinfo{nil, url.User(user), url.UserPassword(user, ""), url.UserPassword(user, "guessed"), url.UserPassword(user, p.password+"x")} {
			if status := p.ask(t, request, user); status != http.StatusProxyAuthRequired {
				t.Errorf("%s as %v: %d", request, user, status)
			}
		}
	}
	if status := p.ask(t, "CONNECT registry.test:443", url.UserPassword(user, p.password)); status != http.StatusOK {
		t.Errorf("with the password: %d", status)
	}
	if status := p.ask(t, "GET /", url.UserPassword(user, p.password)); status != http.StatusBadRequest {
		t.Errorf("no request to a proxy: %d", status)
	}
	log.want(t)
}

// ask sends a request without a body to the proxy.
func (p *proxy) ask(t *testing.T, request string, user *url.Userinfo) int {
	t.Helper()
	conn, err := net.Dial("tcp", p.listener.Addr().String())
	noError(t, err)
	defer conn.Close()
	method, at, _ := strings.Cut(request, " ")
	r := http.Request{Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: %s\r\n\r\n", method, at, r.Header.Get("Authorization"))
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	noError(t, err)
	answer.Body.Close()
	return answer.StatusCode
}

// client is one in this process.
func (p *proxy) client(t testing.TB) *http.Client {
	at, err := url.Parse(p.url())
	noError(t, err)
	u := Upstream{roots: p.Upstream.roots.with(p.ca.certificate), dial: (&net.Dialer{}).DialContext, proxy: func(*url.URL) (*url.URL, error) { return at, nil }}
	through := u.Transport()
	t.Cleanup(through.CloseIdleConnections)
	return &http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// TestClientsOwnRoots: a client that trusts roots of its own is told that it cannot be intercepted.
func TestClientsOwnRoots(t *testing.T) {
	s := newScene(t)
	o, log := s.options("registry.test")
	script := `SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/nowhere "$0" get https://registry.test/`
	if _, err := run(t, o, append([]string{"sh", "-c", script}, itself(t)...)...); err == nil {
		t.Error("no error")
	}
	if len(log.all) != 1 || !strings.Contains(log.all[0], "report: TLS with the command for registry.test: ") || !strings.Contains(log.all[0], front("registry.test")) {
		t.Errorf("%q", log.all)
	}
}

// TestConnections: no more connections are open at once than the bound.
func TestConnections(t *testing.T) {
	listener, err := listen()
	noError(t, err)
	bound := limit(listener, 1)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for conn, err := bound.Accept(); err == nil; conn, err = bound.Accept() {
			accepted <- conn
		}
	}()
	for range 2 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		noError(t, err)
		defer conn.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Error("two connections at once")
	default:
	}
	if n := len(bound.(*limited).open); n != 1 {
		t.Errorf("%d are open", n)
	}
	first.Close()
	first.Close() // counts once
	second := <-accepted
	noError(t, bound.Close())
	second.Close()
	if _, ok := <-accepted; ok {
		t.Error("a connection of a closed listener")
	}
}

// TestCurl: curl reads other variables.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says("a registry"))
	s.plain("plain.test:80", says("without TLS"))
	s.environ = append(s.environ, "no_proxy=.registry.test", "CURL_HOME=/nowhere")
	o, log := s.options("registry.test", "plain.test")
	out, err := run(t, o, "curl", "-sS", "https://registry.test/v2/?n=1", "http://plain.test/v2/")
	noError(t, err)
	out2, err := run(t, o, "curl", "-sS", "--proxytunnel", "http://plain.test/v2/")
	noError(t, err)
	out3, err := run(t, o, "curl", "-sS", "--proxy-anyauth", "https://registry.test/v2/") // as git: the password only when asked for
	noError(t, err)
	if out+out2+out3 != "a registrywithout TLSwithout TLSa registry" {
		t.Errorf("%q, %q, %q", out, out2, out3)
	}
	log.want(t, "GET https://registry.test/v2/ 200", "GET http://plain.test/v2/ 200", "GET http://plain.test/v2/ 200", "GET https://registry.test/v2/ 200")
	if slices.Contains(s.dialled, "registry.test:80") {
		t.Error("the wrong port was asked")
	}
}
