package integration

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"
)

// registryKind is whose registry it is. All but distribution's are strict, and want no tokens.
type registryKind int

const (
	distribution        registryKind = iota
	dockerRegistry                   // the distribution of before 3.0, as Debian has it
	goContainerRegistry              // in the test's own process
)

func (k registryKind) program() string {
	return map[registryKind]string{distribution: "registry", dockerRegistry: "docker-registry"}[k]
}

// run starts the registry itself, on the socket.
func (o registryOptions) run(t testing.TB, r *registry, socket string) {
	t.Helper()
	if o.kind != distribution && r.tokens != nil {
		t.Fatal("only distribution's registry is set up for tokens")
	}
	if o.kind == goContainerRegistry {
		serveGoContainerRegistry(t, socket, gcr.WithReferrersSupport(o.referrers))
		return
	}
	needs(t, o.kind.program())
	r.config = writeFile(t, filepath.Join(filepath.Dir(socket), "config.yml"), o.config(t, socket, r.tokens))
	r.program = start(t, o.kind.program(), "serve", r.config)
	r.program.await(t, func() bool { return r.answers(t) })
}

// config is for both of distribution's: the older one has nothing that lets it be lenient.
func (o registryOptions) config(t testing.TB, socket string, tokens *tokenServer) string {
	t.Helper()
	dir := filepath.Dir(socket)
	config := fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}, delete: {enabled: %t}}
http: {net: unix, addr: %s}
`, filepath.Join(dir, "data"), o.deletes, socket)
	if !o.strict && o.kind == distribution {
		config += "validation: {manifests: {indexes: {platforms: none}}}\n"
	}
	if tokens == nil {
		return config
	}
	keys := writeFile(t, filepath.Join(dir, "keys.json"), tokens.signer.jwks(t))
	return config + fmt.Sprintf("auth: {token: {realm: %q, service: %q, issuer: %q, jwks: %q}}\n", tokens.realm, service, issuer, keys)
}

func serveGoContainerRegistry(t testing.TB, socket string, options ...gcr.Option) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	must(t, err)
	server := httptest.NewUnstartedServer(gcr.New(append(options, gcr.Logger(quiet))...))
	must(t, server.Listener.Close())
	server.Listener, server.Config.ErrorLog = listener, quiet
	server.Start()
	t.Cleanup(server.Close)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

// version is what the program, or the module, says of itself.
func (k registryKind) version(t testing.TB) string {
	t.Helper()
	says := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "github.com/google/go-containerregistry")
	if program := k.program(); program != "" {
		says = exec.CommandContext(t.Context(), program, "--version")
	}
	return versionNumber.FindString(runCommand(t, says))
}
