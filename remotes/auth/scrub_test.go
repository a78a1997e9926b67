package auth

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestEchoedSecrets: what a host repeats of what it was sent does not come back: neither in the reason of a status, nor
// in the body of an error, nor in an error about an answer that is no HTTP.
func TestEchoedSecrets(t *testing.T) {
	const configured = "configured-value"
	answers := map[string]func(req *http.Request) string{
		"reason": func(req *http.Request) string {
			return "HTTP/1.1 501 Unsupported method (" + all(req) + ")\r\nContent-Length: 0\r\n\r\n"
		},
		"body": func(req *http.Request) string {
			return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s", len(all(req)), all(req))
		},
		"malformed": func(req *http.Request) string { return "HTTP/1.1 200 OK\r\nX " + all(req) + "\r\n\r\n" },
		"no HTTP":   func(req *http.Request) string { return all(req) + "\r\n\r\n" },
	}
	for name, answer := range answers {
		server := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, answer(req))
		})
		r := NewRegistry("http", strings.TrimPrefix(server.URL, "http://"), new(http.Transport), &heldCredentials{}, RegistryOptions{Header: http.Header{"X-Key": {configured}}})
		for scheme, parameter := range map[string]string{"Basic": "dXNlcjpodW50ZXIyMg==", "Bearer": "token-in-clear"} {
			req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/", nil))
			req.Header.Set("Authorization", scheme+" "+parameter)
			resp, err := clientOf(r).Do(req)
			said := fmt.Sprint(err)
			if err == nil {
				body, readErr := io.ReadAll(resp.Body)
				said = fmt.Sprint(resp.Status, string(body), readErr, resp.Body.Close())
			}
			for _, secret := range []string{parameter, "hunter22", configured} {
				if strings.Contains(said, secret) {
					t.Errorf("%s, %s: %s", name, scheme, said)
				}
			}
			if name == "reason" && !strings.HasPrefix(said, "501 Not Implemented") || name == "body" && !strings.Contains(said, "you sent …") {
				t.Errorf("%s, %s: %s", name, scheme, said)
			}
		}
	}
}

// TestProxyRefuses: of a proxy that refuses a connection, the status is told, and not its words.
func TestProxyRefuses(t *testing.T) {
	proxy := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 407 you sent "+req.Header.Get("Proxy-Authorization")+"\r\nContent-Length: 0\r\n\r\n")
	})
	at := must[*url.URL](t)(url.Parse(strings.Replace(proxy.URL, "http://", "http://user:hunter22@", 1)))
	r := NewRegistry("https", "reg.test", &http.Transport{Proxy: http.ProxyURL(at)}, &heldCredentials{}, RegistryOptions{})
	err := get(t, r, "https://reg.test/v2/")
	wantError(t, err, "answered 407 Proxy Authentication Required")
	if strings.Contains(err.Error(), "you sent") || strings.Contains(err.Error(), "hunter22") {
		t.Error(err)
	}
}

// all is what a host repeats of a request.
func all(req *http.Request) string {
	_, password, _ := req.BasicAuth()
	_, parameter, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return "you sent " + parameter + " " + password + " " + req.Header.Get("X-Key")
}
