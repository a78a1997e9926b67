package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/nestedoci/nested/internal/retry"
)

// What a server over HTTP/2 does to a request, or to all on a connection, may
// pass.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*httptest.Server){
		"stream":     func(*httptest.Server) {},
		"connection": func(s *httptest.Server) { s.CloseClientConnections() },
	} {
		var s *httptest.Server
		s = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			harm(s)
			panic(http.ErrAbortHandler)
		}))
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil))
		resp, err := s.Client().Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !retry.IsBroken(err) {
			t.Errorf("%s: %v is final", name, err)
		}
	}
}

// What a client itself refuses does not pass, though net/http wraps it in what
// is a net.Error.
func TestClientRefuses(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
	s.StartTLS()
	t.Cleanup(s.Close)
	unwilling := s.Client()
	unwilling.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		return checkTarget(&url.URL{Scheme: "https"}, &url.URL{Scheme: "http"})
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, of := range map[string]struct {
		client *http.Client
		url    string
	}{
		"certificate": {&http.Client{Transport: &http.Transport{}}, s.URL},
		"redirect":    {unwilling, s.URL},
		"plain":       {s.Client(), strings.Replace(plain.URL, "http:", "https:", 1)},
	} {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, of.url, nil))
		resp, err := of.client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || retry.IsBroken(err) {
			t.Errorf("%s: %v may pass", name, err)
		}
	}
}

// TestClientFails: what goes wrong on the way may pass, whatever net/http calls it, and is told without the URL.
func TestClientFails(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(proxy.Close)
	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(must[*url.URL](t)(url.Parse(proxy.URL)))}}
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.test/?signed=secret", nil))
	resp, err := through.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	err = &url.Error{Op: "Post", URL: "https://another.test/?signed=secret", Err: err} // a client below a client
	for _, err := range []error{err, WithoutURL(err)} {
		if !retry.IsBroken(err) || retry.IsBroken(errors.Join(context.Canceled, err)) {
			t.Errorf("%v", err)
		}
	}
	if got := WithoutURL(err).Error(); got != "Service Unavailable" {
		t.Error(got)
	}
}

// A server that ends a whole connection says so, and what it asks for may pass.
func TestGoAway(t *testing.T) {
	t.Parallel()
	s := goingAway(t, func(*http2.Framer) error { return nil })
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil))
	resp, err := s.Client().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	wantError(t, err, "http2: ")
	if !retry.IsBroken(err) {
		t.Errorf("%v is final", err)
	}
}

// goingAway is a server over HTTP/2 that ends each connection after its first request and what of the answer comes before.
func goingAway(t *testing.T, before func(*http2.Framer) error) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2 = true
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
		defer conn.Close()
		if _, err := io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface))); err != nil {
			t.Error(err)
		}
		framer := http2.NewFramer(conn, conn)
		err := framer.WriteSettings()
		for asked := false; err == nil && !asked; {
			var frame http2.Frame
			if frame, err = framer.ReadFrame(); err == nil {
				asked = frame.Header().Type == http2.FrameHeaders
			}
		}
		if err = errors.Join(err, before(framer), framer.WriteGoAway(0, http2.ErrCodeInternal, nil)); err != nil {
			t.Error(err)
		}
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestBrokenStreamOfABody: a body whose stream is reset, or whose connection goes away, breaks off as one over HTTP/1.1 does: who
// reads it may ask for the rest.
func TestBrokenStreamOfABody(t *testing.T) {
	t.Parallel()
	reset := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("part"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	reset.EnableHTTP2 = true
	reset.StartTLS()
	t.Cleanup(reset.Close)
	away := goingAway(t, func(framer *http2.Framer) error {
		var header bytes.Buffer
		if err := hpack.NewEncoder(&header).WriteField(hpack.HeaderField{Name: ":status", Value: "200"}); err != nil {
			return err
		}
		return errors.Join(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header.Bytes(), EndHeaders: true}),
			framer.WriteData(1, false, []byte("part")))
	})
	for name, s := range map[string]*httptest.Server{"reset": reset, "away": away} {
		roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		r := NewRegistry("https", strings.TrimPrefix(s.URL, "https://"), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Sources{}, RegistryOptions{})
		t.Cleanup(r.CloseIdleConnections)
		req := must[*http.Request](t)(http.NewRequestWithContext(Small(t.Context()), http.MethodGet, s.URL, nil))
		resp, err := clientOf(r).Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(got) != "part" || !errors.Is(err, io.ErrUnexpectedEOF) || resp.ProtoMajor != 2 {
			t.Errorf("%s: got %q over %s, %v", name, got, resp.Proto, err)
		}
	}
}
