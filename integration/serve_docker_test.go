package integration

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// engine is Docker's client, of a daemon of its own.
type engine struct {
	env []string
}

// startDocker starts Debian's daemon, with graph drivers.
func startDocker(t *testing.T, config string) engine {
	t.Helper()
	dir := tempDir(t)
	settings := fmt.Sprintf(`{"storage-driver": "overlay2", "data-root": %q}`, filepath.Join(dir, "data"))
	return startEngine(t, "dockerd", filepath.Join(dir, "docker.sock"), writeFile(t, filepath.Join(dir, "daemon.json"), settings), config)
}

// startEngine starts a daemon of Docker's until the test ends, over a containerd of its own. Its settings, a file, say
// where its data is; the client's configuration is a directory.
func startEngine(t *testing.T, program, socket, settings, config string) engine {
	t.Helper()
	needs(t, program, "docker")
	containerd := startContainerd(t)
	dir := tempDir(t)
	daemon := start(t, program, "--host", "unix://"+socket, "--containerd", containerd.address, "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--config-file", settings, "--iptables=false", "--ip6tables=false", "--bridge", "none")
	// Not where helpers for credentials are: docker uses one that it finds.
	d := engine{[]string{"PATH=/nowhere", "DOCKER_HOST=unix://" + socket, "DOCKER_CONFIG=" + config}}
	daemon.await(t, func() bool { return d.command(t, "version").Run() == nil })
	return d
}

func (d engine) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("docker")
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = d.env
	return cmd
}

func (d engine) run(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(runCommand(t, d.command(t, args...)))
}

// TestServeDocker: Docker's engine logs in at a front, pulls the image of its platform out of a bundle that the registry
// carries, pushes to the repository of a member, and is told no with a wrong password.
func TestServeDocker(t *testing.T) {
	needs(t, "nestctl", "crane")
	base := baseLayer(t)
	amd := newImage(t, amd64, "amd\n", base)
	bundle := newBundle(t, member{"amd", amd}, member{"arm", newImage(t, arm64, "arm\n", base)})
	who := login{"robot", "s3cret"}
	tokens := startTokenServer(t, map[string]user{who.username: {password: who.password, rights: pushes(repositories("org/app", bundle)...)}})
	reg := registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, tokens)
	publishAt(t, reg, carriedNode(t, bundle))
	address := startServe(t, []string{"HOME=" + t.TempDir()}, "--registry", "127.0.0.1="+reg.host)
	config := t.TempDir()
	d := startDocker(t, config)
	logIn := func(password string) error {
		cmd := d.command(t, "login", "--username", who.username, "--password-stdin", address)
		cmd.Stdin = strings.NewReader(password)
		return cmd.Run()
	}
	if logIn("wrong") == nil {
		t.Error("a wrong password logs in")
	}
	must(t, logIn(who.password))
	if _, err := os.Stat(filepath.Join(config, "config.json")); err != nil {
		t.Error(err)
	}
	ref := address + "/org/app:v1"
	d.run(t, "pull", "--quiet", ref)
	if got, want := d.run(t, "image", "inspect", "--format", "{{.Id}}", ref), amd.blobs[len(amd.blobs)-1].desc.Digest.String(); got != want {
		t.Errorf("pulled %s, want %s", got, want)
	}
	d.run(t, "tag", ref, address+"/org/app/amd:again")
	d.run(t, "push", address+"/org/app/amd:again")
	if got := reg.get(t, "/v2/org/app/amd/manifests/again", tokens.adminToken(t, "org/app/amd")); got.status != 200 {
		t.Errorf("pushed: status %d", got.status)
	}
}
