package auth

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"
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
		if !IsBroken(err) {
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
	unwilling.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("refused") }
	for name, client := range map[string]*http.Client{"certificate": {Transport: &http.Transport{}}, "redirect": unwilling} {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil))
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || IsBroken(err) {
			t.Errorf("%s: %v may pass", name, err)
		}
	}
}

// A server that ends a whole connection says so, and what it asks for may pass.
func TestGoAway(t *testing.T) {
	t.Parallel()
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
		if err = errors.Join(err, framer.WriteGoAway(1, http2.ErrCodeInternal, nil)); err != nil {
			t.Error(err)
		}
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil))
	resp, err := s.Client().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	wantError(t, err, "http2: ")
	if !IsBroken(err) {
		t.Errorf("%v is final", err)
	}
}
