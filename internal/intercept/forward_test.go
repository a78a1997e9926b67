package intercept

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// TestPassedOn: a request reaches the registry as it was sent, and its answer the command, but for what is for proxies.
func TestPassedOn(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, name := range []string{"Proxy-Authorization", "Proxy-Connection", "X-Hop", "Accept-Encoding", "Accept"} {
			if r.Header[name] != nil {
				fmt.Fprintf(w, "%s: %q; ", name, r.Header[name])
			}
		}
		fmt.Fprintf(w, "%s %s %q %q %d %q", r.Method, r.RequestURI, r.UserAgent(), r.Header.Get("Authorization"), r.ContentLength, body)
	})
	s.tls(s.ca, "moved.test:443", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header().Set("Location", "https://elsewhere.test/x?sig=1")
		w.Header().Set("Docker-Content-Digest", "sha256:00")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	o, _ := s.options("registry.test", "moved.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	c := p.client(t)

	r, err := http.NewRequest(http.MethodPut, "https://registry.test/v2/a/blobs/uploads/1?digest=sha256:00;x&y", strings.NewReader("content"))
	noError(t, err)
	r.Header = http.Header{"Authorization": {"Bearer t"}, "User-Agent": {"client/1"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Proxy-Connection": {"keep-alive"}, "Accept": {"a", "b"}}
	status, _, body := do(t, c, r)
	if want := `Accept: ["a" "b"]; PUT /v2/a/blobs/uploads/1?digest=sha256:00;x&y "client/1" "Bearer t" 7 "content"`; status != 200 || body != want {
		t.Errorf("%d %s\nwant %s", status, body, want)
	}
	r, err = http.NewRequest(http.MethodHead, "https://moved.test/v2/", nil)
	noError(t, err)
	status, h, _ := do(t, c, r)
	if status != 307 || h.Get("Location") != "https://elsewhere.test/x?sig=1" || h.Get("Docker-Content-Digest") != "sha256:00" || h["Content-Type"] != nil || h["X-Hop"] != nil {
		t.Errorf("%d %v", status, h)
	}
	// Another host in a connection to this one.
	r, err = http.NewRequest(http.MethodGet, "https://registry.test/v2/", nil)
	noError(t, err)
	r.Host = "moved.test"
	if status, _, _ = do(t, c, r); status != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", status)
	}
}

// TestAnsweredFrom: the line about a request says from where else it was answered, where the transport says so.
func TestAnsweredFrom(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says("here"))
	o, log := s.options("registry.test")
	o.Transport = elsewhere{o.Transport}
	gets(t, o, "https://registry.test/own", "https://registry.test/member?secret")
	log.want(t, "GET https://registry.test/own 200", "GET https://registry.test/member 200 from registry.test/member")
	AnsweredFrom(t.Context(), "nowhere") // of no request
}

// elsewhere says of what is not its own that it comes from elsewhere.
type elsewhere struct{ http.RoundTripper }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/own" {
		AnsweredFrom(r.Context(), r.URL.Host+r.URL.Path)
	}
	return e.RoundTripper.RoundTrip(r)
}

// do returns status, header and body of an answer.
func do(t *testing.T, c *http.Client, r *http.Request) (int, http.Header, string) {
	t.Helper()
	answer, err := c.Do(r)
	noError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	noError(t, err)
	return answer.StatusCode, answer.Header, string(body)
}

// TestStreams: each part of a body is passed on when it comes, in both ways, with and without a length.
func TestStreams(t *testing.T) {
	s := newScene(t)
	echo := func(w http.ResponseWriter, r *http.Request) { // one byte at a time
		if r.ContentLength > 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		one := make([]byte, 1)
		for n, err := r.Body.Read(one); n > 0; n, err = r.Body.Read(one) {
			_, _ = w.Write(one)
			_ = control.Flush()
			if err != nil {
				break
			}
		}
	}
	s.tls(s.ca, "registry.test:443", echo)
	o, _ := s.options("registry.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	for _, length := range []int64{-1, 3} {
		in, out := io.Pipe()
		r, err := http.NewRequest(http.MethodPost, "https://registry.test/", in)
		noError(t, err)
		r.ContentLength = length
		sent := make(chan error, 1)
		go func() { _, failed := out.Write([]byte("a")); sent <- failed }()
		answer, err := p.client(t).Do(r)
		noError(t, err)
		defer answer.Body.Close()
		noError(t, <-sent)
		if answer.ContentLength != length {
			t.Errorf("length %d, want %d", answer.ContentLength, length)
		}
		one := make([]byte, 1)
		for _, part := range []string{"a", "b", "c"} {
			if part != "a" {
				_, err = out.Write([]byte(part))
				noError(t, err)
			}
			_, err = io.ReadFull(answer.Body, one)
			noError(t, err)
			if string(one) != part {
				t.Errorf("%q, want %q", one, part)
			}
		}
		out.Close()
	}
}

// TestExpectContinue: a body that the registry does not want is not sent, and one that it wants is.
func TestExpectContinue(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	o, _ := s.options("registry.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	for authorization, want := range map[string]int{"": 401, "Bearer t": 200} {
		body := &counted{Reader: strings.NewReader("content")}
		r, err := http.NewRequest(http.MethodPut, "https://registry.test/", body)
		noError(t, err)
		r.ContentLength = 7
		r.Header.Set("Expect", "100-continue")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		c := p.client(t)
		c.Transport.(*http.Transport).ExpectContinueTimeout = 1 << 40 // for as long as it takes
		if status, _, _ := do(t, c, r); status != want || (body.n > 0) != (want == 200) {
			t.Errorf("%q: %d, %d bytes sent", authorization, status, body.n)
		}
	}
}

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// TestUntrusted: where the command would not have trusted a registry, it gets an error that says so.
func TestUntrusted(t *testing.T) {
	s := newScene(t)
	stranger, err := newAuthority("stranger", []string{"test"})
	noError(t, err)
	s.tls(stranger, "registry.test:443", says("not reached"))
	s.at["wrong.test:443"] = s.at["registry.test:443"]
	o, log := s.options("registry.test", "wrong.test", "missing.test")
	for host, want := range map[string]string{
		"registry.test": "the certificate of registry.test is not trusted", "wrong.test": "the certificate of wrong.test is not trusted",
		"missing.test": "no such host",
	} {
		log.all = nil
		got := gets(t, o, "https://"+host+"/v2/?secret", "https://"+host+"/v2/?secret")
		if got[0].Status != 502 || !strings.HasPrefix(got[0].Body, `{"errors":[{"code":"UNKNOWN","message":"`) || !strings.Contains(got[0].Body, want) {
			t.Errorf("%s: %v", host, got[0])
		}
		last := log.all[len(log.all)-1]
		if !strings.HasPrefix(last, "report: GET https://"+host+"/v2/: ") || !strings.Contains(last, want) || !strings.HasSuffix(last, "(and one more failure)") || strings.Contains(last, "secret") {
			t.Errorf("%s: %s", host, last)
		}
	}
}

// TestWithoutTLS: a client that asks a registry again with http, when nothing there speaks TLS, can do so.
func TestWithoutTLS(t *testing.T) {
	s := newScene(t)
	s.plain("plain.test:443", says("not reached"))
	s.at["refuses.test:443"] = refusing(t)
	for _, host := range []string{"plain.test", "refuses.test"} {
		s.plain(host+":80", says("without TLS"))
		o, log := s.options(host)
		script := `"$0" get https://` + host + `/v2/ || "$0" get http://` + host + `/v2/`
		out, err := run(t, o, append([]string{"sh", "-c", script}, itself(t)...)...)
		noError(t, err)
		if !strings.Contains(out, "without TLS") || !strings.HasPrefix(log.all[len(log.all)-1], "report: GET https://"+host+"/v2/: "+host+": ") {
			t.Errorf("%q, %q", out, log.all)
		}
	}
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) string {
	listener, err := listen()
	noError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// TestCommandGone: that a command ends in the middle of what it sends is no failure below it.
func TestCommandGone(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler) // an answer would reach the proxy at once with the end
	})
	o, _ := s.options("registry.test")
	seen := make(chan string, 1)
	o.Asked = func(line string) { seen <- line }
	p, err := start(o)
	noError(t, err)
	defer p.close()
	body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the end")))
	answer, err := p.client(t).Post("https://registry.test/", "application/octet-stream", body)
	if err == nil {
		answer.Body.Close()
		t.Error("no error")
	}
	if line := <-seen; line != "POST https://registry.test/ failed" || p.journal.summary() != "" {
		t.Errorf("%q, %q", line, p.journal.summary())
	}
}

// TestBrokenBody: a body that breaks off upstream breaks off for the command, and is reported.
func TestBrokenBody(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	o, log := s.options("registry.test")
	if out, err := run(t, o, itself(t, "get", "https://registry.test/")...); err == nil {
		t.Errorf("no error: %s", out)
	}
	log.want(t, "GET https://registry.test/ 200", "report: GET https://registry.test/: unexpected EOF")
}

// TestLargeHeader: what a registry sends before a body is bounded.
func TestLargeHeader(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Large", strings.Repeat("x", 1<<20)) })
	o, _ := s.options("registry.test")
	if got := gets(t, o, "https://registry.test/"); got[0].Status != 502 {
		t.Errorf("%v", got)
	}
}
