package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What a server over HTTP/2 does to a request, or to all on a connection, may pass.
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
