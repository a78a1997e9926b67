//go:build unix

package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// process is a gateway of a configuration file, which serves on a port that it
// chooses itself.
type process struct {
	t      *testing.T
	file   string
	text   string // of the file
	logged lines
	client *http.Client
	host   string // the registry
}

func newProcess(t *testing.T) *process {
	t.Helper()
	r := clienttest.NewRegistry(t)
	r.Tag("org/app", "v1", r.Image("org/app", registrytest.TarLayer(map[string]string{"file": "1"})).Digest)
	dir := t.TempDir()
	certificates, err := config.NewCertificates("127.0.0.1:0", time.Now())
	clienttest.NoError(t, err)
	for name, pem := range map[string][]byte{"gateway.pem": certificates.Gateway, "ca.pem": certificates.CA} {
		clienttest.NoError(t, os.WriteFile(filepath.Join(dir, name), pem, 0o600))
	}
	pair, err := tls.X509KeyPair(certificates.Client, certificates.Client)
	clienttest.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificates.CA)
	p := &process{
		t:      t,
		file:   filepath.Join(dir, "config.toml"),
		logged: make(lines, 1000),
		client: &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots},
			DisableKeepAlives: true, // a gateway that ends need not wait for it
		}},
		host: r.Host(),
		text: fmt.Sprintf("version = 1\n[gateway]\nmode = \"node\"\naddress = \"127.0.0.1:0\"\nregistries = [%q]\ncertificate = %q\nclient_ca = %q\nhosts_dir = %q\nstate_dir = %q\n",
			r.Host(), filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "ca.pem"), clienttest.PlainHTTP(t, r.Host()), filepath.Join(dir, "state")),
	}
	logTo(t, p.logged)
	return p
}

// logTo makes lines the log of the process, whose memory limit is restored after
// the test.
func logTo(t *testing.T, logged lines) {
	log.L.Logger.SetOutput(logged)
	t.Cleanup(func() { log.L.Logger.SetOutput(os.Stderr) })
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
}

// write replaces the file by the one that works and more lines.
func (p *process) write(more string) {
	p.t.Helper()
	clienttest.NoError(p.t, os.WriteFile(p.file, []byte(p.text+more), 0o600))
}

// wantStatus asks for the manifest.
func (p *process) wantStatus(address string, want int) {
	p.t.Helper()
	resp, err := p.client.Get("https://" + address + "/v2/org/app/manifests/v1?ns=" + p.host)
	clienttest.NoError(p.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != want {
		p.t.Errorf("status %d, want %d", resp.StatusCode, want)
	}
}

// lines are what is logged.
type lines chan string

// Write implements [io.Writer].
func (l lines) Write(line []byte) (int, error) { l <- string(line); return len(line), nil }

// await returns the next line that says something.
func (l lines) await(t *testing.T, says string) string {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case line := <-l:
			if strings.Contains(line, says) {
				return line
			}
		case <-deadline:
			t.Fatalf("nothing logged says %q", says)
		}
	}
}

// listening returns the address in the line that says where a process serves.
func (l lines) listening(t *testing.T) string {
	t.Helper()
	_, address, _ := strings.Cut(l.await(t, "serving"), " on ")
	return strings.Trim(strings.TrimSpace(address), `"`)
}

// hangUp sends this process the signal to read its configuration again.
func hangUp(t *testing.T) {
	t.Helper()
	clienttest.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
}

// TestRun: from the start to the end, twice with the same state: systemd is told when requests are answered and when no
// more are taken, SIGHUP brings another file into force, one with a mistake changes nothing, and what runs ends by itself.
func TestRun(t *testing.T) {
	p := newProcess(t)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	clienttest.NoError(t, err)
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", systemd.LocalAddr().String())
	wantNotice := func(want string) {
		t.Helper()
		clienttest.NoError(t, systemd.SetReadDeadline(time.Now().Add(time.Minute)))
		told := make([]byte, 100)
		n, err := systemd.Read(told)
		if clienttest.NoError(t, err); string(told[:n]) != want {
			t.Errorf("systemd is told %q, want %q", told[:n], want)
		}
	}
	for range 2 {
		p.write("")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, Options{Config: p.file, UserAgent: "test", Probe: []string{probing}}) }()
		wantNotice("READY=1")
		address := p.logged.listening(t)
		p.wantStatus(address, http.StatusOK)

		p.write(fmt.Sprintf("allow = [%q]\n", p.host+"/other/**"))
		hangUp(t)
		p.logged.await(t, "read again")
		p.wantStatus(address, http.StatusForbidden)
		p.write("alow = []\n")
		hangUp(t)
		p.logged.await(t, "stays as it was")
		p.wantStatus(address, http.StatusForbidden)

		cancel()
		wantNotice("STOPPING=1")
		clienttest.NoError(t, <-ended)
		if _, err := net.Dial("tcp", address); err == nil {
			t.Error("somebody listens still")
		}
	}
}

// TestRunRefusesToStart: what is wrong at the start is an error, and nothing is served.
func TestRunRefusesToStart(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(p *process)
		says  string
	}{
		"no file":        {func(p *process) { clienttest.NoError(t, os.Remove(p.file)) }, "config.toml"},
		"a mistake":      {func(p *process) { p.write("alow = []\n") }, "alow"},
		"no certificate": {func(p *process) { clienttest.NoError(t, os.Remove(filepath.Join(filepath.Dir(p.file), "gateway.pem"))) }, "gateway.pem"},
		"no clients' CA": {func(p *process) { clienttest.NoError(t, os.Remove(filepath.Join(filepath.Dir(p.file), "ca.pem"))) }, "ca.pem"},
	} {
		p := newProcess(t)
		p.write("")
		test.spoil(p)
		if err := Run(t.Context(), Options{Config: p.file, UserAgent: "test", Probe: []string{probing}}); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
