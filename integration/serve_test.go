package integration

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// serveHost is the name of a front.
const serveHost = "bundles.example.com"

// listening is what a daemon logs when it serves.
var listening = regexp.MustCompile(`serving .* on ([0-9.]+:[0-9]+)`)

// startServe starts nestctl serve with these arguments, and returns where it listens. Its certificate is that of httptest's
// servers.
func startServe(t testing.TB, env []string, args ...string) string {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--certificate", serverCertificate(t)}, args...)
	p := startEnv(t, env, "nestctl", args...)
	var found []string
	p.await(t, func() bool {
		log, err := os.ReadFile(p.log)
		must(t, err)
		found = listening.FindStringSubmatch(string(log))
		return found != nil
	})
	return found[1]
}

// startEnv starts a daemon in an environment.
func startEnv(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(name)
	must(t, err)
	return start(t, "env", append(append([]string{"-i"}, env...), append([]string{path}, args...)...)...)
}

// serverCertificate is a file with the certificate and the key of httptest's servers.
func serverCertificate(t testing.TB) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := writeFile(t, filepath.Join(t.TempDir(), "serve.pem"), string(text))
	must(t, os.Chmod(file, 0o600))
	return file
}

// behindServe lets the clients of a scene ask a front before the registry, as one user who may read all of the bundle and
// push to its repository: at a front clients have one credential for all.
func (s *execScene) behindServe(t *testing.T, bundle node) *execScene {
	t.Helper()
	who := loginOf("org/app")
	rights := pulls(append(repositories("org/app", bundle), repositories("org/copy", bundle)...)...)
	for _, name := range []string{"org/app", "org/copy"} {
		rights[name] = []string{"pull", "push", "delete"}
	}
	s.registry.tokens.know(who.username, user{password: who.password, rights: rights})
	var env []string
	for _, entry := range s.env {
		if !strings.HasPrefix(entry, "DOCKER_CONFIG=") { // it has no use for one
			env = append(env, entry)
		}
	}
	s.proxy.at[serveHost+":443"] = startServe(t, env, "--registry", serveHost+"="+execHost)
	s.env = append(env, "DOCKER_CONFIG="+dockerConfig(t, map[string]login{serveHost: who}, nil))
	s.serves = true
	return s
}

// TestServeBundle: from a front, crane, oras, regctl and skopeo pull a bundle, and read its index as it was pushed: by a
// publisher to a registry that takes it as it is, or by oras to the front before one that checks. By hand it is what
// image-spec issue 1217 says does not work.
func TestServeBundle(t *testing.T) {
	needs(t, "skopeo")
	for name, publish := range publications {
		t.Run(name, func(t *testing.T) {
			s, bundle := publish(t, true)
			s.checkPulls(t, bundle)
			s.checkGateway(t, bundle)
		})
	}
}
