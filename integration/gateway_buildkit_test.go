package integration

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nestedoci/nested/config"
)

// buildKit is a buildkitd of a test's own.
type buildKit struct {
	*process
	address string
}

// startBuildKit starts buildkitd, as root and with the snapshots of overlayfs, until the test ends.
func startBuildKit(t *testing.T, settings string) buildKit {
	t.Helper()
	needs(t, "linux", "root", "buildkitd", "buildctl", "runc")
	dir := tempDir(t)
	overlayable(t, dir)
	b := buildKit{address: "unix://" + filepath.Join(dir, "buildkitd.sock")}
	b.process = start(t, "buildkitd", "--config", writeFile(t, filepath.Join(dir, "buildkitd.toml"), settings), "--root", filepath.Join(dir, "root"),
		"--addr", b.address, "--otel-socket-path", filepath.Join(dir, "otel.sock"), "--containerd-worker=false",
		"--oci-worker-binary=runc", "--oci-worker-snapshotter=overlayfs", "--oci-worker-net=host")
	b.await(t, func() bool {
		return exec.CommandContext(t.Context(), "buildctl", "--addr", b.address, "debug", "workers").Run() == nil
	})
	return b
}

// build builds FROM a reference for a platform, without credentials, and returns the message of the image, or what buildctl
// says.
func (b buildKit) build(t *testing.T, from, platform string) (message string, err error) {
	t.Helper()
	return b.buildAs(t, t.TempDir(), from, platform)
}

// buildAs is build with a Docker configuration.
func (b buildKit) buildAs(t *testing.T, docker, from, platform string) (message string, err error) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "Dockerfile"), "FROM "+from+"\n")
	cmd := exec.CommandContext(t.Context(), "buildctl", "--addr", b.address, "build", "--progress=plain", "--no-cache", "--frontend=dockerfile.v0",
		"--local=context="+dir, "--local=dockerfile="+dir, "--opt=platform="+platform, "--output=type=local,dest="+filepath.Join(dir, "out"))
	cmd.Env = append(cmd.Environ(), "DOCKER_CONFIG="+docker, "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return readText(t, filepath.Join(dir, "out", "message")), nil
}

func (b buildKit) want(t *testing.T, from, platform, message string) {
	t.Helper()
	if got, err := b.build(t, from, platform); err != nil || got != message {
		t.Errorf("FROM %s for %s: %v\n%s", from, platform, err, got)
	}
}

// forBuildKit installs a gateway for buildkitd, too, and returns the buildkitd.toml that it is given, with the directory of
// the certificates.
func (g *gatewayProcess) forBuildKit(t *testing.T, registry string) (settings, certificates string) {
	t.Helper()
	done := newNestctl(t, g.docker).run(t, "install", "--for", "buildkit", "--mode", "node", "--registry", registry, "--address", g.address, "--root", g.root, "--no-systemd")
	if strings.Contains(done.stdout, "wrote") || !strings.Contains(done.stderr, "wrote /etc/nested/tls/buildkit/") {
		t.Errorf("standard output\n%s\nstandard error\n%s", done.stdout, done.stderr)
	}
	const certs = "/etc/nested/tls/buildkit"
	return strings.ReplaceAll(done.stdout, certs, g.root+certs), g.root + certs
}

// TestGatewayBuildKit: buildkitd, without a credential, builds from a bundle each of whose repositories has a user of its
// own, for any platform, by tag and by digest, and from plain images, from these also without the gateway.
func TestGatewayBuildKit(t *testing.T) {
	base := baseLayer(t)
	bundle := newBundle(t, member{"amd64", newImage(t, amd64, "amd64\n", base)}, member{"arm64", newImage(t, arm64, "arm64\n", base)})
	a := publish(t, bundle)
	g := startGateway(t, a, "node")
	settings, _ := g.forBuildKit(t, a.host)
	b := startBuildKit(t, settings)
	b.want(t, a.ref, "linux/amd64", "amd64\n")
	b.want(t, strings.TrimSuffix(a.ref, ":v1")+"@"+bundle.desc.Digest.String(), "linux/arm64", "arm64\n")
	a.checkTokens(t)
	for what, n := range tally(only(a.requests(), func(r request) bool { return r.Authorized && r.Kind == "blobs" }), func(r request) string { return r.Method + " " + r.Reference }) {
		if n > 1 {
			t.Errorf("%s %d times", what, n)
		}
	}
	a.pushNode(t, "org/app", "plain", newImage(t, amd64, "plain\n", base))
	b.want(t, a.registry.ref("org/app", "plain"), "linux/amd64", "plain\n")
}

// TestGatewayBuildKitStopped: without the gateway, and without its certificates after it was uninstalled, buildkitd
// builds from plain images.
func TestGatewayBuildKitStopped(t *testing.T) {
	reg := startRegistry(t, nil)
	a := publishAt(t, reg, newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	g := startGateway(t, a, "node")
	settings, certificates := g.forBuildKit(t, a.host)
	b := startBuildKit(t, settings)
	plain := func(tag string) {
		t.Helper()
		reg.pushNode(t, "org/plain/"+tag, "v1", newImage(t, amd64, tag, baseLayer(t)))
		b.want(t, reg.ref("org/plain/"+tag, "v1"), "linux/amd64", tag)
		digested := newImage(t, amd64, "by digest "+tag, baseLayer(t))
		reg.pushNode(t, "org/plain/"+tag, "v2", digested)
		b.want(t, reg.ref("org/plain/"+tag, digested.desc.Digest.String()), "linux/amd64", "by digest "+tag)
	}
	plain("through")
	g.stop(t)
	plain("stopped")
	if out, err := b.build(t, a.ref, "linux/amd64"); err == nil {
		t.Errorf("a bundle without the gateway: %s", out)
	}
	runCommand(t, exec.CommandContext(t.Context(), "rm", "-r", certificates))
	plain("uninstalled")
	checkRow(t, "BuildKit", versionOf(t, "buildkit"), "pulls one image", "yes", "yes", "`TestGatewayBuildKit`, `TestGatewayBuildKitStopped`")
}

// TestBuildKitKeepsCredentials: buildkitd gives a mirror that asks for it no credential, neither that of the registry nor
// one that it gets there.
func TestBuildKitKeepsCredentials(t *testing.T) {
	image := newImage(t, amd64, "kept\n", baseLayer(t))
	a := publish(t, image)
	var asked, shown atomic.Int64
	mirror := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			shown.Add(1)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(mirror.Close)
	address := mirror.Listener.Addr().String()
	text, _, err := config.GatewayHost{Address: address}.BuildKit("", nil, []string{a.host}, "/nowhere")
	must(t, err)
	b := startBuildKit(t, strings.ReplaceAll(string(text), "http = false", "http = false\n  insecure = true"))
	docker := dockerConfig(t, map[string]login{a.host: loginOf("org/app")}, nil)
	if got, err := b.buildAs(t, docker, a.ref, "linux/amd64"); err != nil || got != "kept\n" {
		t.Errorf("%v\n%s", err, got)
	}
	if asked.Load() == 0 || shown.Load() > 0 {
		t.Errorf("the mirror was asked %d times, %d with a credential", asked.Load(), shown.Load())
	}
}
