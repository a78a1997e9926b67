package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gatewayProcess is `nestctl gateway` before a registry, with what `nestctl install` wrote.
type gatewayProcess struct {
	*process
	root            string // that it was installed into
	config, address string
	certsD          string // containerd's
	client          string // containerd's certificate and key
	docker          string // directory of the Docker configuration
	socket          *os.File
}

// startGateway installs and starts a gateway in front of an app's registry, with the credentials of its repositories.
// The administrator had a hosts.toml for the registry. Settings are more lines of its section.
func startGateway(t testing.TB, a *app, mode string, settings ...string) *gatewayProcess {
	t.Helper()
	root := tempDir(t)
	g := &gatewayProcess{
		root:    root,
		config:  filepath.Join(root, "config.toml"),
		address: freeAddress(t),
		certsD:  filepath.Join(root, "etc/containerd/certs.d"),
		docker:  dockerConfig(t, a.logins, nil),
	}
	writeHosts(t, g.certsD, a.host, a.hostsOf())
	newNestctl(t, g.docker).run(t, "install", "--mode", mode, "--registry", a.host, "--address", g.address, "--root", root, "--no-systemd")
	g.client = onlyFile(t, filepath.Join(g.certsD, a.host, "nested-????????.pem"))
	// The configuration that was written is for an installation in /.
	credentials := ""
	if mode == "node" {
		credentials = fmt.Sprintf("[credentials]\ndocker_config = [%q]\n", filepath.Join(g.docker, "config.json"))
	}
	writeFile(t, g.config, fmt.Sprintf(`version = 1
%s[gateway]
mode = %q
registries = [%q]
address = %q
certificate = %q
client_ca = %q
hosts_dir = %q
state_dir = %q
%s
`, credentials, mode, a.host, g.address, filepath.Join(root, "etc/nested/tls/gateway.pem"), filepath.Join(root, "etc/nested/tls/ca.pem"),
		filepath.Join(root, "etc/nested/certs.d"), filepath.Join(root, "state"), strings.Join(settings, "\n")))
	g.boot(t)
	return g
}

// onlyFile is the one file that a pattern matches.
func onlyFile(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%s matches %q", pattern, found)
	}
	return found[0]
}

func (g *gatewayProcess) boot(t testing.TB) {
	t.Helper()
	needs(t, "nestctl")
	args := []string{"nestctl", "gateway", "--config", g.config}
	if g.socket == nil {
		g.process = start(t, args[0], args[1:]...)
	} else {
		g.process = startWith(t, []*os.File{g.socket}, "sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh"}, args...)...)
	}
	g.await(t, func() bool { return g.answers(t) })
}

// freeAddress is an address on loopback that nobody listened on a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// through is a client that asks the gateway as containerd does, with its certificate.
func (g *gatewayProcess) through(t testing.TB) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(g.client, g.client)
	must(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (g *gatewayProcess) get(t testing.TB, path string) (int, string, error) {
	t.Helper()
	return getOver(t, g.through(t).Transport, "https://"+g.address+path)
}

func getOver(t testing.TB, transport http.RoundTripper, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	must(t, err)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (g *gatewayProcess) answers(t testing.TB) bool {
	status, _, err := g.get(t, "/v2/")
	return err == nil && (status == http.StatusOK || status == http.StatusUnauthorized) // mode pod asks for a credential
}
