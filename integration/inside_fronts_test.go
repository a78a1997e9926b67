package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// wantsCertificate serves those who show a client certificate, whose file it returns: it is the server's own.
func wantsCertificate(t testing.TB) (serve func(*httptest.Server), file func() string) {
	t.Helper()
	var last *httptest.Server
	serve = func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
		s.Config.ErrorLog = quiet
		s.StartTLS()
		last = s
	}
	return serve, func() string {
		key, err := x509.MarshalPKCS8PrivateKey(last.TLS.Certificates[0].PrivateKey)
		must(t, err)
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: last.Certificate().Raw})) +
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		return writeFile(t, filepath.Join(t.TempDir(), "client.pem"), text)
	}
}

// TestInsideFronts: a front that rewrites paths, so that tokens have other names for repositories, with a header in
// hosts.toml, and a client certificate that the token endpoint wants, too: stock containerd pulls a plain image there, and
// so do the plugin and nestctl, which pull a bundle as well.
func TestInsideFronts(t *testing.T) {
	alice, base := login{"alice", "canary of alice"}, baseLayer(t)
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", base)})
	serve, certificate := wantsCertificate(t)
	rights := pulls("back/org/plain", "back/org/app", "back/org/app/web", "org/plain", "org/app", "org/app/web")
	reg := registryOptions{serve: serve}.start(t, serveTokens(t, map[string]user{alice.username: {password: alice.password, rights: rights}}, serve))
	reg.pushNode(t, "back/org/plain", "v1", newImage(t, amd64, "plain\n", base))
	reg.pushNode(t, "back/org/app", "v1", bundle)
	var mu sync.Mutex
	headers := map[string][]string{}
	reg.replace(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if rest, ok := strings.CutPrefix(req.URL.Path, "/v2/org/"); ok {
				req.URL.Path = "/v2/back/org/" + rest
			}
			mu.Lock()
			for _, name := range []string{"User-Agent", "X-Wanted"} {
				if values := strings.Join(req.Header[name], ", "); !slices.Contains(headers[name], values) {
					headers[name] = append(headers[name], values)
				}
			}
			mu.Unlock()
			next.ServeHTTP(w, req)
		})
	})
	certsD := t.TempDir()
	writeHosts(t, certsD, reg.host, fmt.Sprintf("server = %q\n[host.%q]\nskip_verify = true\nclient = %q\n[host.%q.header]\nUser-Agent = \"file\"\nX-Wanted = \"file\"\n",
		"https://"+reg.host, "https://"+reg.host, certificate(), "https://"+reg.host))
	for _, version := range []string{stock, inside} {
		daemon := startDaemon(t, version, func(string) string { return "" }, criPlugins...)
		for _, name := range []string{"org/plain", "org/app"} {
			if version == stock && name != "org/plain" {
				continue // which knows nothing of members
			}
			out, err := daemon.tryPullHosts(t, transfer, certsD, reg.ref(name, "v1"), "--user", alice.username+":"+alice.password)
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", version, name, err, out)
			}
		}
		if version == stock {
			mu.Lock()
			clear(headers) // it sends both its own User-Agent and the file's, of which one arrives
			mu.Unlock()
		}
	}
	for name, values := range headers {
		if !slices.Equal(values, []string{"file"}) {
			t.Errorf("%s: the registry got %q", name, values)
		}
	}
}
