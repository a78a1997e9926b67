//go:build linux && docker

package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Docker Engine, with its files where a node has them, and the node gateway as its mirror.

const dockerSettings = "/etc/docker/daemon.json"

// dockerNode is a node with a daemon of Docker's, the gateway, and an administrator's mirror that knows nothing.
type dockerNode struct {
	engine
	*app
	gateway *gatewayProcess
	mirror  *mirrorSpy
	before  map[string]string // what /etc was without the gateway
}

// mirrorSpy is a mirror that asks everybody for a password. It records what it was asked.
type mirrorSpy struct {
	url   string
	mu    sync.Mutex
	asked []string
}

func startMirrorSpy(t *testing.T) *mirrorSpy {
	t.Helper()
	m := &mirrorSpy{}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

func (m *mirrorSpy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, fmt.Sprint(r.URL.Path, r.Header))
	w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// check checks that it was asked since the last time, and for nobody's credential.
func (m *mirrorSpy) check(t *testing.T, when string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := strings.Join(m.asked, "\n")
	m.asked = nil
	if !strings.Contains(asked, "/v2/") || strings.Contains(asked, "Authorization") || leaks(asked) {
		t.Errorf("%s the mirror was asked\n%s", when, asked)
	}
}

// startDockerNode installs for Docker, and starts its gateway and a daemon with more settings. Docker's own client is
// logged in as a user of the bundle's repository, and of no member.
func startDockerNode(t *testing.T, program, more string, bundle node) *dockerNode {
	t.Helper()
	must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, "")) // for docker.sock
	n := &dockerNode{app: publish(t, bundle), mirror: startMirrorSpy(t)}
	must(t, os.RemoveAll("/etc/docker"))
	writeFile(t, dockerSettings, fmt.Sprintf(`{"data-root": %q%s}`, filepath.Join(tempDir(t), "data"), more))
	writeHosts(t, "/etc/docker/certs.d", n.host, n.hostsOf()+fmt.Sprintf("[host.%q]\n", n.mirror.url))
	n.before = treeOf(t, "/etc")
	n.gateway = installForDocker(t, n.app)
	user := dockerConfig(t, map[string]login{n.host: loginOf("org/app")}, nil)
	n.engine = startEngine(t, program, "/run/docker.sock", dockerSettings, user)
	return n
}

// installForDocker installs and starts a gateway in front of an app's registry, with the credentials of its repositories.
func installForDocker(t *testing.T, a *app) *gatewayProcess {
	t.Helper()
	g := &gatewayProcess{config: "/etc/nested/config.toml", address: freeAddress(t), docker: dockerConfig(t, a.logins, nil)}
	newNestctl(t, "").run(t, "install", "--for", "docker", "--mode", "node", "--registry", a.host, "--address", g.address,
		"--docker-config", filepath.Join(g.docker, "config.json"), "--no-systemd")
	g.client = onlyFile(t, filepath.Join("/etc/docker/certs.d", a.host, "nested-????????.pem"))
	g.boot(t)
	return g
}

// wantProblem checks what doctor says of an engine that does not ask the gateway.
func (n *dockerNode) wantProblem(t *testing.T, want string) {
	t.Helper()
	got := newNestctl(t, "").try(t, "doctor", n.ref)
	if got.code != exitFailure || !strings.Contains(got.stdout, want) {
		t.Errorf("doctor: exit code %d, want %q\n%s%s", got.code, want, got.stdout, got.stderr)
	}
}

// wantPulled pulls a reference for a platform, and looks into a container of it.
func (n *dockerNode) wantPulled(t *testing.T, ref, platform, message string) {
	t.Helper()
	n.run(t, "pull", "--quiet", "--platform", platform, ref)
	id := n.run(t, "create", "--pull", "never", "--platform", platform, ref)
	dir := t.TempDir()
	n.run(t, "cp", id+":/message", dir)
	if got := readText(t, filepath.Join(dir, "message")); got != message {
		t.Errorf("%s for %s is %q, want %q", ref, platform, got, message)
	}
	n.run(t, "rm", id)
}

// wantPlain pulls a plain image that nobody has yet, by tag and by digest.
func (n *dockerNode) wantPlain(t *testing.T, tag string) {
	t.Helper()
	image := newImage(t, amd64, tag, baseLayer(t))
	n.pushNode(t, "org/app", tag, image)
	n.wantPulled(t, n.registry.ref("org/app", tag), "linux/amd64", tag)
	n.wantPulled(t, n.registry.ref("org/app", image.desc.Digest.String()), "linux/amd64", tag)
}

// checkFloor checks that nothing was fetched twice.
func (n *dockerNode) checkFloor(t *testing.T) {
	t.Helper()
	fetched := only(n.requests(), func(r request) bool {
		return r.Method == http.MethodGet && r.Status == http.StatusOK && (r.Kind == "manifests" || r.Kind == "blobs")
	})
	if len(fetched) == 0 {
		t.Error("nothing was fetched")
	}
	for what, times := range tally(fetched, func(r request) string { return r.Repository + " " + r.Reference }) {
		if times > 1 {
			t.Errorf("%s was fetched %d times", what, times)
		}
	}
}

func platformBundle(t *testing.T) node {
	base := baseLayer(t)
	return newBundle(t, member{"amd64", newImage(t, amd64, "amd64\n", base)}, member{"arm64", newImage(t, arm64, "arm64\n", base)})
}

// TestDocker: Docker Engine with the containerd image store pulls a bundle each of whose repositories has a user of its
// own, for any platform, by tag and by digest, and plain images, these also without the gateway. A mirror sees nobody's
// credential. Uninstalling leaves the node as it was.
func TestDocker(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "moby", "docker")
	privately(t, func(t *testing.T, _ string) {
		bundle := platformBundle(t)
		n := startDockerNode(t, "moby", `, "features": {"containerd-snapshotter": true}`, bundle)
		n.requests()
		n.wantPulled(t, n.ref, "linux/amd64", "amd64\n")
		n.checkFloor(t)
		n.wantPulled(t, n.registry.ref("org/app", bundle.desc.Digest.String()), "linux/arm64", "arm64\n")
		n.checkFloor(t)
		n.checkTokens(t)
		n.mirror.check(t, "through the gateway")
		n.wantPlain(t, "through")
		newNestctl(t, "").run(t, "doctor", n.ref)

		n.gateway.stop(t)
		n.wantPlain(t, "stopped")
		n.mirror.check(t, "without the gateway")
		n.pushNode(t, "org/app", "v2", platformBundle(t))
		n.run(t, "image", "prune", "--all", "--force")
		if out, err := n.command(t, "pull", n.registry.ref("org/app", "v2")).CombinedOutput(); err == nil {
			t.Errorf("a bundle without the gateway:\n%s", out)
		}

		newNestctl(t, "").run(t, "uninstall")
		wantTree(t, treeOf(t, "/etc"), n.before)
		n.wantPlain(t, "uninstalled")
	})
	checkRow(t, "Docker Engine", "moby "+versionOf(t, "moby"), "pulls one image", "yes", "yes", "`TestDocker`")
}

// TestDockerGraph: Debian's Docker Engine, which is too old and has graph drivers alone, does not ask the gateway. Doctor
// says so, also by its files.
func TestDockerGraph(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "dockerd", "docker")
	privately(t, func(t *testing.T, _ string) {
		n := startDockerNode(t, "dockerd", "", platformBundle(t))
		if out, err := n.command(t, "pull", n.ref).CombinedOutput(); err == nil {
			t.Errorf("a bundle with graph drivers:\n%s", out)
		}
		n.wantPlain(t, "plain")
		n.wantProblem(t, `/run/docker.sock: Docker Engine "20.10`)
		must(t, os.Remove("/run/docker.sock")) // it cannot be asked any more
		n.wantProblem(t, "/data/overlay2 has images: Docker Engine uses its graphdriver image store")
	})
	checkRow(t, "Docker Engine with graph drivers", versionOf(t, "docker"), "no", "no", "yes: it does not ask the gateway", "`TestDockerGraph`")
}
