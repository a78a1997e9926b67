package intercept

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// upstreamProxy is a proxy that was set before. It notes what it is asked, and finds the servers of a scene.
type upstreamProxy struct {
	lines
	s    *scene
	user string // user:password, "" for everybody
}

func (u *upstreamProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.add(r.Method + " " + r.RequestURI)
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(u.user)); u.user != "" && r.Header.Get("Proxy-Authorization") != want {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		r.URL.Host = u.s.at[r.URL.Host+":80"]
		r.RequestURI = ""
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		defer answer.Body.Close()
		_, _ = io.Copy(w, answer.Body)
		return
	}
	there, err := net.Dial("tcp", u.s.at[r.Host])
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	here, _, err := http.NewResponseController(w).Hijack()
	noError(u.s.t, err)
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { copyHalf(there, here) })
	copyHalf(here, there)
	both.Wait()
	here.Close()
	there.Close()
}

// proxied is a scene with a registry and others, and a proxy before them that alone finds them.
func proxied(t *testing.T, secure bool) (*scene, *upstreamProxy) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says("a registry"))
	s.plain("registry.test:80", says("without TLS"))
	s.tls(s.ca, "other.test:443", says("elsewhere, over TLS"))
	s.plain("other.test:80", says("elsewhere"))
	u := &upstreamProxy{s: s, user: "robot:s3cret"}
	at := "proxy.test:3128"
	if secure {
		s.tls(s.ca, at, u.ServeHTTP)
	} else {
		server := httptest.NewServer(u)
		t.Cleanup(server.Close)
		s.at[at] = server.Listener.Addr().String()
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return s, u
}

var everywhere = []string{"https://registry.test/v2/", "http://registry.test/v2/", "https://other.test/", "http://other.test/"}

// TestUpstreamProxy: a proxy that was set before is used for everything, with the user in its URL.
func TestUpstreamProxy(t *testing.T) {
	for _, c := range []struct {
		secure    bool
		variables []string
	}{
		{false, []string{"HTTPS_PROXY=http://robot:s3cret@proxy.test:3128", "HTTP_PROXY=http://robot:s3cret@proxy.test:3128"}},
		{false, []string{"https_proxy=robot:s3cret@proxy.test:3128", "http_proxy=http://robot:s3cret@proxy.test:3128/", "HTTPS_PROXY=http://not.asked.test"}},
		{false, []string{"ALL_PROXY=http://robot:s3cret@proxy.test:3128"}},
		{true, []string{"HTTPS_PROXY=https://robot:s3cret@proxy.test:3128", "HTTP_PROXY=https://robot:s3cret@proxy.test:3128"}},
	} {
		s, u := proxied(t, c.secure)
		s.environ = append(s.environ, c.variables...)
		o, _ := s.options("registry.test")
		got := gets(t, o, everywhere...)
		if want := []seen{{200, "a registry", authorityName}, {200, "without TLS", ""}, {200, "elsewhere, over TLS", before}, {200, "elsewhere", ""}}; !slices.Equal(got, want) {
			t.Errorf("%q: %v", c.variables, got)
		}
		u.want(t, "CONNECT registry.test:443", "GET http://registry.test/v2/", "CONNECT other.test:443", "GET http://other.test/")
		for _, address := range s.dialled {
			if address != "proxy.test:3128" {
				t.Errorf("%q: %s was asked directly", c.variables, address)
			}
		}
	}
}

// TestNoProxyBefore: what NO_PROXY named goes directly, also where its entry had to go for the command.
func TestNoProxyBefore(t *testing.T) {
	for list, want := range map[string][]string{
		"registry.test":      {"CONNECT other.test:443", "GET http://other.test/"},
		"test":               nil,
		"*":                  nil,
		"other.test":         {"CONNECT registry.test:443", "GET http://registry.test/v2/"},
		"registry.test:443":  {"GET http://registry.test/v2/", "CONNECT other.test:443", "GET http://other.test/"},
		"nothing.test,.corp": {"CONNECT registry.test:443", "GET http://registry.test/v2/", "CONNECT other.test:443", "GET http://other.test/"},
	} {
		s, u := proxied(t, false)
		s.environ = append(s.environ, "HTTPS_PROXY=http://robot:s3cret@proxy.test:3128", "HTTP_PROXY=http://robot:s3cret@proxy.test:3128", "NO_PROXY="+list)
		if list == "other.test" { // an entry that stays: the command asks directly, which nothing answers here
			s.environ = append(s.environ, "NO_PROXY="+list+",.registry.test")
		}
		o, _ := s.options("registry.test")
		p, err := start(o)
		noError(t, err)
		c := p.client(t)
		for _, at := range everywhere {
			r, err := http.NewRequest(http.MethodGet, at, nil)
			noError(t, err)
			if status, _, _ := do(t, c, r); status != http.StatusOK {
				t.Errorf("%s: %s: %d", list, at, status)
			}
		}
		c.CloseIdleConnections()
		p.close()
		u.want(t, want...)
	}
}

// TestUpstreamProxyRefuses: what the proxy that was set before says is no answer to the password of this one.
func TestUpstreamProxyRefuses(t *testing.T) {
	s, _ := proxied(t, false)
	s.environ = append(s.environ, "ALL_PROXY=http://robot:wrong@proxy.test:3128")
	o, log := s.options("registry.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	for _, at := range []string{"https://registry.test/v2/", "http://registry.test/v2/", "http://other.test/"} {
		r, err := http.NewRequest(http.MethodGet, at, nil)
		noError(t, err)
		if status, _, body := do(t, p.client(t), r); status != http.StatusBadGateway {
			t.Errorf("%s: %d %s", at, status, body)
		}
	}
	if status := p.ask(t, "CONNECT other.test:443", url.UserPassword(user, p.password)); status != http.StatusBadGateway {
		t.Errorf("tunnel: %d", status)
	}
	p.report()
	if last := log.all[len(log.all)-1]; last != "report: GET https://registry.test/v2/: registry.test: Proxy Authentication Required (and 3 more failures)" {
		t.Error(last)
	}
}

// TestSOCKS: so is a SOCKS proxy; RFC 1928, RFC 1929.
func TestSOCKS(t *testing.T) {
	s, _ := proxied(t, false)
	listener, err := listen()
	noError(t, err)
	var asked lines
	var serving sync.WaitGroup
	serving.Go(func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			serving.Go(func() { s.socks(conn, &asked) })
		}
	})
	s.at["socks.test:1080"] = listener.Addr().String()
	s.environ = append(s.environ, "ALL_PROXY=socks5h://robot:s3cret@socks.test:1080")
	o, _ := s.options("registry.test")
	got := gets(t, o, everywhere...)
	if want := []seen{{200, "a registry", authorityName}, {200, "without TLS", ""}, {200, "elsewhere, over TLS", before}, {200, "elsewhere", ""}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	asked.want(t, "robot s3cret registry.test", "robot s3cret registry.test", "robot s3cret other.test", "robot s3cret other.test")
	o.Transport.(*http.Transport).CloseIdleConnections()
	listener.Close()
	serving.Wait()
}

// socks serves one connection.
func (s *scene) socks(conn net.Conn, asked *lines) {
	defer conn.Close()
	read := func(n int) string {
		b := make([]byte, n)
		_, _ = io.ReadFull(conn, b)
		return string(b)
	}
	counted := func() string { return read(int(read(1)[0])) }
	read(1)
	counted()
	_, _ = conn.Write([]byte{5, 2}) // with a password
	read(1)
	who := counted() + " " + counted()
	_, _ = conn.Write([]byte{1, 0})
	read(4)
	host := counted()
	port := read(2)
	asked.add(who + " " + host)
	there, err := net.Dial("tcp", s.at[net.JoinHostPort(host, map[string]string{"\x01\xbb": "443", "\x00\x50": "80"}[port])])
	noError(s.t, err)
	defer there.Close()
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	var both sync.WaitGroup
	both.Go(func() { copyHalf(there, conn) })
	copyHalf(conn, there)
	both.Wait()
}

// TestUpstreamProxyDown: that the proxy that was set before cannot be reached says nothing of a registry.
func TestUpstreamProxyDown(t *testing.T) {
	s := newScene(t)
	s.at["proxy.test:3128"] = refusing(t)
	s.environ = append(s.environ, "ALL_PROXY=http://robot:s3cret@proxy.test:3128")
	o, log := s.options("registry.test")
	got := gets(t, o, "https://registry.test/v2/", "http://other.test/")
	for _, answer := range got {
		if answer.Status != http.StatusBadGateway || strings.Contains(answer.Body, "s3cret") {
			t.Errorf("%v", answer)
		}
	}
	if last := log.all[len(log.all)-1]; !strings.Contains(last, "proxyconnect") || strings.Contains(last, "s3cret") {
		t.Error(last)
	}
}
