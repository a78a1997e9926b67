package gateway

import (
	"net/http"
	"testing"
)

// TestRequestsForOtherHostsAreRefused: requests that were meant for another host are not answered.
func TestRequestsForOtherHostsAreRefused(t *testing.T) {
	s := newScene(t, Node)
	for host, want := range map[string]int{
		"evil.test":                http.StatusMisdirectedRequest,
		"evil.test:7117":           http.StatusMisdirectedRequest,
		"10.0.0.1":                 http.StatusMisdirectedRequest,
		"0.0.0.0:7117":             http.StatusMisdirectedRequest,
		"localhost.evil.test":      http.StatusMisdirectedRequest,
		"localhost.evil.test:7117": http.StatusMisdirectedRequest,
		"evil-localhost:7117":      http.StatusMisdirectedRequest,
		"127.0.0.1.evil.test":      http.StatusMisdirectedRequest,
		"127.0.0.1.evil.test:7117": http.StatusMisdirectedRequest,
		"localhost:7117":           http.StatusOK,
		"127.0.0.1":                http.StatusOK,
		"[::1]:7117":               http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := s.Server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}
