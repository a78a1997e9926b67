//go:build unix

package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// frontScene is a registry, the files of a front before it, and its log.
type frontScene struct {
	t        *testing.T
	registry *registrytest.Registry
	flags    config.Serve
	logged   lines
	roots    *x509.CertPool
}

func newFrontScene(t *testing.T) *frontScene {
	t.Helper()
	r := clienttest.NewRegistry(t)
	r.Tag("org/app", "v1", r.Image("org/app", registrytest.TarLayer(map[string]string{"file": "1"})).Digest)
	s := &frontScene{t: t, registry: r, flags: config.Default().Serve, logged: make(lines, 1000)}
	dir := t.TempDir()
	s.flags.Listen = "127.0.0.1:0"
	s.flags.Certificate, s.flags.SealKeys = filepath.Join(dir, "pem"), []string{filepath.Join(dir, "key")}
	s.flags.Registries = []string{"127.0.0.1=" + r.Host(), "localhost=" + r.Host()}
	s.flags.HostsDir = clienttest.PlainHTTP(t, r.Host())
	s.certify()
	s.seal(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	logTo(t, s.logged)
	return s
}

// certify replaces the certificate, of which clients trust none other.
func (s *frontScene) certify() {
	s.t.Helper()
	certificates, err := config.NewCertificates("127.0.0.1:0", time.Now())
	clienttest.NoError(s.t, err)
	s.replace(s.flags.Certificate, certificates.Gateway)
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(certificates.CA)
}

// seal replaces the seal key.
func (s *frontScene) seal(text string) { s.replace(s.flags.SealKeys[0], []byte(text)) }

func (s *frontScene) replace(path string, data []byte) {
	s.t.Helper()
	clienttest.NoError(s.t, os.WriteFile(path+".new", data, 0o600))
	clienttest.NoError(s.t, os.Rename(path+".new", path))
}

// options are those of a command line with all flags.
func (s *frontScene) options(file string) ServeOptions {
	given := map[string]bool{"listen": true, "certificate": true, "registry": true, "seal-key": true, "hosts-dir": true, "grace": true, "metrics-address": true}
	return ServeOptions{Config: file, Flags: config.Flags{Serve: s.flags, Given: func(name string) bool { return given[name] }}, UserAgent: "test"}
}

// start runs the front, and returns its port. What end returns is to be called
// before the test ends.
func (s *frontScene) start(file string) (port string, end context.CancelFunc, ended <-chan error) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- RunServe(ctx, s.options(file)) }()
	_, port, err := net.SplitHostPort(s.logged.listening(s.t))
	clienttest.NoError(s.t, err)
	return port, cancel, result
}

// get asks for a path under a name, over a connection of its own.
func (s *frontScene) get(name, port, path string) (*http.Response, error) {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.roots},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	return client.Get("https://" + net.JoinHostPort(name, port) + path)
}

func (s *frontScene) wantStatus(name, port, path string, want int) {
	s.t.Helper()
	resp, err := s.get(name, port, path)
	clienttest.NoError(s.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != want {
		s.t.Errorf("%s of %s: status %d, want %d", path, name, resp.StatusCode, want)
	}
}

const manifestPath = "/v2/org/app/manifests/v1"

// TestRunServe: without a file and a state a front serves its names, to clients without a certificate, until its context
// ends. With a file, SIGHUP brings another one into force, but for a mistake, and but for what needs a restart.
func TestRunServe(t *testing.T) {
	s := newFrontScene(t)
	port, end, ended := s.start("")
	for name, want := range map[string]int{"127.0.0.1": http.StatusOK, "localhost": http.StatusOK} {
		s.wantStatus(name, port, manifestPath, want)
	}
	hangUp(t)
	s.logged.await(t, "read again")
	s.wantStatus("localhost", port, manifestPath, http.StatusOK)
	end()
	clienttest.NoError(t, <-ended)

	file := clienttest.File(t, []byte("[serve]\nregistries = [\"other.test=reg.test\"]\n")) // a flag wins
	port, end, ended = s.start(file)
	s.wantStatus("localhost", port, manifestPath, http.StatusOK)
	for _, step := range []struct {
		text, logs string
		want       int
	}{
		{"[serve]\nallow = [\"" + s.registry.Host() + "/other/**\"]\n", "read again", http.StatusForbidden},
		{"[serve]\nalow = []\n", "stays as it was", http.StatusForbidden},
		{"[serve]\nmax_connections = 9\n", "restart nestctl serve for [serve.max_connections]", http.StatusForbidden},
		{"", "read again", http.StatusOK},
	} {
		s.replace(file, []byte(step.text))
		hangUp(t)
		s.logged.await(t, step.logs)
		s.wantStatus("localhost", port, manifestPath, step.want)
	}
	end()
	clienttest.NoError(t, <-ended)
}

// TestServeReadiness: metrics and health have an address of their own, and a front that ends is not ready.
func TestServeReadiness(t *testing.T) {
	s := newFrontScene(t)
	s.flags.MetricsAddress = "127.0.0.1:0"
	d := newServe(s.options(""), find.NewMemory(find.DefaultMemory))
	c, err := d.service.load()
	clienttest.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, c) }()
	port := s.logged.listening(t)[len("127.0.0.1:"):]
	s.wantStatus("localhost", port, manifestPath, http.StatusOK)
	probe := func(path string) (int, string) {
		w := httptest.NewRecorder()
		d.observation().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if status, _ := probe("/readyz"); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	if _, text := probe("/metrics"); !strings.Contains(text, `nested_requests_total{door="serve",kind="manifests",status="200"} 1`) {
		t.Errorf("metrics: %.3000s", text)
	}
	cancel()
	clienttest.NoError(t, <-ended)
	if status, _ := probe("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("at the end: %d", status)
	}
}

// TestServeGrace: when a front ends, a transfer under way goes on, and a new connection is refused; after the grace the
// transfer is cut off, which its client can see.
func TestServeGrace(t *testing.T) {
	content := []byte(strings.Repeat("content ", 1<<17))
	for name, grace := range map[string]time.Duration{"in time": time.Minute, "too long": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			s := newFrontScene(t)
			s.flags.Grace = grace
			blob := s.registry.PutBlob("org/app", "application/octet-stream", content)
			half, release := make(chan bool), make(chan bool)
			defer close(release)
			s.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				_, _ = w.Write(content[:len(content)/2])
				_ = http.NewResponseController(w).Flush()
				close(half)
				<-release
				_, _ = w.Write(content[len(content)/2:])
				return true
			})
			port, end, ended := s.start("")
			resp, err := s.get("localhost", port, "/v2/org/app/blobs/"+blob.Digest.String())
			clienttest.NoError(t, err)
			defer resp.Body.Close()
			<-half
			end()
			clienttest.Await(t, func() bool {
				conn, refused := net.Dial("tcp", "127.0.0.1:"+port)
				if refused == nil {
					_ = conn.Close()
				}
				return refused != nil
			}, func() string { return "somebody listens still" })
			if name == "in time" {
				release <- true
			}
			got, err := io.ReadAll(resp.Body)
			if whole := err == nil && len(got) == len(content); whole != (name == "in time") {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			clienttest.NoError(t, <-ended)
		})
	}
}

// TestServeFollowsFiles: a front goes by its certificate and seal keys as they are now. While they are invalid it goes by
// those before, and says so once.
func TestServeFollowsFiles(t *testing.T) {
	s := newFrontScene(t)
	d := newServe(s.options(""), find.NewMemory(find.DefaultMemory))
	c, err := d.service.load()
	clienttest.NoError(t, err)
	clienttest.NoError(t, d.use(c))
	defer func() { d.settings.Load().handler.Close() }()
	for _, step := range []struct {
		what   string
		change func()
		logs   string // empty: nothing
	}{
		{"nothing", func() {}, ""},
		{"a seal key", func() { s.seal(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))) + "\n") }, "were read again"},
		{"an invalid seal key", func() { s.seal("too short") }, "is not 32 bytes in base64; make one with"},
		{"the same again", func() {}, ""},
		{"a good one", func() { s.seal(base64.StdEncoding.EncodeToString(make([]byte, 32))) }, "were read again"},
		{"one that others may write", func() { clienttest.NoError(t, os.Chmod(s.flags.SealKeys[0], 0o646)) }, "what was read before stays in force"},
		{"one that they may not", func() { clienttest.NoError(t, os.Chmod(s.flags.SealKeys[0], 0o600)) }, "were read again"},
		{"a certificate", s.certify, "were read again"},
		{"no certificate", func() { s.replace(s.flags.Certificate, []byte("none")) }, "what was read before stays in force"},
		{"a certificate again", s.certify, "were read again"},
	} {
		for len(s.logged) > 0 {
			<-s.logged
		}
		before := d.settings.Load().handler
		step.change()
		d.followFiles()
		d.followFiles()
		var logged []string
		for len(s.logged) > 0 {
			if line := <-s.logged; !strings.Contains(line, "level=debug") {
				logged = append(logged, line)
			}
		}
		if step.logs == "" && len(logged) > 0 || step.logs != "" && (len(logged) != 1 || !strings.Contains(logged[0], step.logs)) {
			t.Errorf("%s: %q", step.what, logged)
		}
		if replaced := d.settings.Load().handler != before; replaced != (step.logs == "were read again") {
			t.Errorf("%s: replaced: %v", step.what, replaced)
		}
	}
}

// TestServeKeepsItsKey: an upload goes on after the settings were replaced, also where the key was drawn.
func TestServeKeepsItsKey(t *testing.T) {
	s := newFrontScene(t)
	s.flags.SealKeys = nil
	s.registry.Intercept(s.registry.Pushes(false))
	d := newServe(s.options(""), find.NewMemory(find.DefaultMemory))
	c, err := d.service.load()
	clienttest.NoError(t, err)
	clienttest.NoError(t, d.use(c))
	defer func() { d.settings.Load().handler.Close() }()
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, "https://localhost"+path, strings.NewReader(body)), httptest.NewRecorder()
		r.SetBasicAuth("user", "password")
		r.URL.Scheme, r.URL.Host = "", "" // as a server reads it
		d.ServeHTTP(w, r)
		return w
	}
	begun := ask(http.MethodPost, "/v2/org/app/blobs/uploads/", "").Header().Get("Location")
	d.reload()
	if done := ask(http.MethodPut, begun+"?digest="+digest.FromString("content").String(), "content"); done.Code != http.StatusCreated {
		t.Errorf("%q: %d %s", begun, done.Code, done.Body)
	}
}

// TestServeWarns of a certificate that clients will refuse.
func TestServeWarns(t *testing.T) {
	s := newFrontScene(t)
	s.flags.Registries = append(s.flags.Registries, "bundles.test:8443=reg.test")
	clienttest.NoError(t, os.Chmod(s.flags.Certificate, 0o644))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- RunServe(ctx, s.options("")) }()
	s.logged.await(t, "it is not for bundles.test:8443")
	s.logged.await(t, "can be read by its group or others")
	cancel()
	clienttest.NoError(t, <-result)
}

// TestRunServeRefusesToStart: what is wrong at the start is an error, and nothing is served.
func TestRunServeRefusesToStart(t *testing.T) {
	for says, spoil := range map[string]func(s *frontScene){
		"--certificate: ":            func(s *frontScene) { clienttest.NoError(t, os.Remove(s.flags.Certificate)) },
		"find any PEM data":          func(s *frontScene) { s.replace(s.flags.Certificate, []byte("x")) },
		"is not 32 bytes in base64":  func(s *frontScene) { s.seal("x") },
		"--registry is ":             func(s *frontScene) { s.flags.Registries = []string{} },
		"must be host:port or :port": func(s *frontScene) { s.flags.Listen = "x" },
	} {
		s := newFrontScene(t)
		spoil(s)
		if err := RunServe(t.Context(), s.options("")); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
