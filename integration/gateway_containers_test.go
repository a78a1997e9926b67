//go:build linux

package integration

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

// The clients of containers/image, as Debian has them, with the node gateway as their mirror.

// mirrorScene is a scene of theirs in which $HOME/.config/containers is what /etc/containers is on a node: they read its
// certificates and its drop-ins.
type mirrorScene struct {
	*execScene
	bundle, plain node
	gateway       *gatewayProcess
}

const plainRef = execHost + "/org/app:plain"

func newMirrorScene(t *testing.T, mode string) *mirrorScene {
	t.Helper()
	needs(t, "containersimage")
	bundle, plain := newImagesBundle(t), newImage(t, amd64, "plain\n", baseLayer(t))
	s := &mirrorScene{execScene: newContainersScene(t, false, bundle), bundle: bundle, plain: plain}
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "CONTAINERS_REGISTRIES_CONF=") }) // newer ones then read no drop-in
	publishAt(t, s.registry, bundle)
	s.registry.pushNode(t, "org/app", "plain", plain)
	t.Setenv("HTTPS_PROXY", s.variable("HTTPS_PROXY"))
	t.Setenv("SSL_CERT_FILE", s.variable("SSL_CERT_FILE"))
	behind := &registry{requestLog: s.registry.requestLog, host: execHost, scheme: "https", tokens: s.registry.tokens}
	s.gateway = startGateway(t, appAt(behind, bundle), mode)
	s.install(t, mode)
	must(t, os.MkdirAll(filepath.Join(s.variable("HOME"), ".config"), 0o755))
	must(t, os.Symlink(s.containers(), filepath.Join(s.variable("HOME"), ".config/containers")))
	return s
}

// containers is the directory of the node whose gateway it is.
func (s *mirrorScene) containers() string { return filepath.Join(s.gateway.root, "etc/containers") }

// install installs for these programs, beside containerd, and lets the gateway read what it got.
func (s *mirrorScene) install(t *testing.T, mode string, more ...string) {
	t.Helper()
	newNestctl(t, s.gateway.docker).run(t, append([]string{"install", "--for", "containers", "--mode", mode, "--registry", execHost, "--address", s.gateway.address, "--root", s.gateway.root, "--no-systemd"}, more...)...)
	s.gateway.stop(t)
	s.gateway.boot(t)
}

// fails runs a command that is to fail, and returns what it said.
func (s *mirrorScene) fails(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%s: succeeded\n%s", command, out)
	}
	return string(out)
}

// checkFloor checks that nothing was fetched twice, but for what these are the digests of.
func (s *mirrorScene) checkFloor(t *testing.T, twice ...digest.Digest) {
	t.Helper()
	fetched := only(s.registry.requests(), func(r request) bool {
		return r.Method == http.MethodGet && r.Status == http.StatusOK && (r.Kind == "manifests" || r.Kind == "blobs") &&
			!slices.Contains(twice, digest.Digest(r.Reference))
	})
	if len(fetched) == 0 {
		t.Error("nothing was fetched")
	}
	for what, n := range tally(fetched, func(r request) string { return r.Repository + " " + r.Reference }) {
		if n > 1 {
			t.Errorf("%s was fetched %d times", what, n)
		}
	}
}

// TestContainersPull: skopeo reads a bundle's index as it was pushed, by tag and by digest, and buildah makes a container of
// a member's image. With a table for the host alone nothing is pulled from another port, as docs/clients.md says.
func TestContainersPull(t *testing.T) {
	s := newMirrorScene(t, "node")
	for _, ref := range refs("v1", s.bundle) {
		if got := s.do(t, "skopeo inspect --raw docker://"+ref); got != string(s.bundle.data) {
			t.Errorf("%s: %s", ref, got)
		}
		s.do(t, "buildah from --quiet --pull-always "+ref)
		s.checkImage(t, ref, s.bundle.members[1].node)
	}
	for _, command := range []string{"skopeo inspect --raw docker://REF", "containersimage REF out"} {
		if got := s.fails(t, strings.ReplaceAll(command, "REF", execHost+":5000/org/app:v1")); !strings.Contains(got, "invalid reference format") {
			t.Errorf("another port of the host: %s", got)
		}
	}
}

// checkPlain pulls a plain image by tag and by digest.
func (s *mirrorScene) checkPlain(t *testing.T) {
	t.Helper()
	for _, ref := range []string{plainRef, execHost + "/org/app@" + s.plain.desc.Digest.String()} {
		s.do(t, "podman pull --quiet "+ref)
		s.checkImage(t, ref, s.plain)
		s.do(t, "podman rmi --force "+ref)
		if got := s.do(t, "skopeo inspect --raw docker://"+ref); got != string(s.plain.data) {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

// TestContainersPod: in mode pod these clients show the gateway the credential that they have for its own address. One
// for the registry is not shown to a mirror; without any they ask the registry itself.
func TestContainersPod(t *testing.T) {
	s := newMirrorScene(t, "pod")
	const ref = execHost + "/org/app:v1"
	all := login{"all", "canary-all"}
	s.registry.tokens.know(all.username, user{password: all.password, rights: pulls(repositories("org/app", s.bundle)...)})
	auth := s.variable("REGISTRY_AUTH_FILE")
	if got := s.fails(t, "podman pull --quiet "+ref); !strings.Contains(got, s.bundle.members[1].node.desc.Digest.String()) {
		t.Errorf("without a credential: %s", got)
	}
	s.checkPlain(t)
	s.fails(t, "podman pull --quiet --creds "+all.username+":"+all.password+" "+ref)

	s.do(t, "podman login --username "+all.username+" --password "+all.password+" "+s.gateway.address)
	s.do(t, "podman pull --quiet "+ref)
	s.checkImage(t, ref, s.bundle.members[1].node)
	s.do(t, "buildah pull --quiet --platform linux/arm64 "+ref)
	s.checkImage(t, ref, s.bundle.members[0].node)
	s.do(t, "skopeo copy --all docker://"+ref+" oci:all:v1")
	checkHas(t, filepath.Join(s.dir, "all"), digestsOf(s.bundle)...)
	s.do(t, "containersimage -all "+ref+" out")
	s.checkOut(t, s.bundle)
	if text := readText(t, auth); !strings.Contains(text, s.gateway.address) {
		t.Errorf("logged in elsewhere: %s", text)
	}
	if leaks(readText(t, s.gateway.log)) {
		t.Error("the gateway's log has a secret in it")
	}
}

// TestContainersNamesRegistryTwice: with namespace-proxy in the drop-in, current versions name the registry in the path and
// as ns. Where the two differ the gateway refuses, and the registry itself has no member.
func TestContainersNamesRegistryTwice(t *testing.T) {
	s := newMirrorScene(t, "node")
	path := filepath.Join(s.containers(), "registries.conf.d/zzz-nested.conf")
	text, mirror := readText(t, path), "location = '"+s.gateway.address+"/"+execHost+"'\n"
	if !strings.Contains(text, mirror) {
		t.Fatalf("no mirror in\n%s", text)
	}
	for _, ns := range []string{execHost, "docker.io", execHost + ":5000"} {
		writeFile(t, path, strings.Replace(text, mirror, mirror+"namespace-proxy = \""+ns+"\"\n", 1))
		if ns != execHost {
			s.fails(t, "containersimage -all "+execHost+"/org/app:v1 out")
			must(t, os.RemoveAll(filepath.Join(s.dir, "out")))
			continue
		}
		s.do(t, "containersimage -all "+execHost+"/org/app:v1 out")
		s.checkOut(t, s.bundle)
	}
}

// TestContainersStranger: a user who may not read the key asks the registry itself, with what they have for it. One of the
// group that may pulls members.
func TestContainersStranger(t *testing.T) {
	s := newMirrorScene(t, "node")
	home := tempDir(t)
	must(t, os.MkdirAll(filepath.Join(home, ".config"), 0o755))
	must(t, os.Symlink(s.containers(), filepath.Join(home, ".config/containers")))
	writeFile(t, filepath.Join(home, "auth.json"), readText(t, s.variable("REGISTRY_AUTH_FILE")))
	writeFile(t, filepath.Join(home, "ca.pem"), readText(t, s.variable("SSL_CERT_FILE")))
	for _, path := range []string{home, home + "/auth.json", home + "/ca.pem", s.gateway.root, s.gateway.root + "/etc"} {
		must(t, os.Chmod(path, 0o755))
	}
	inspect := func(ref string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/skopeo", "inspect", "--raw", "docker://"+ref)
		cmd.Dir, cmd.Env = home, append(slices.Clone(s.env), "HOME="+home, "REGISTRY_AUTH_FILE="+home+"/auth.json", "DOCKER_CONFIG="+home, "SSL_CERT_FILE="+home+"/ca.pem")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if got, err := inspect(plainRef); err != nil || got != string(s.plain.data) {
		t.Errorf("a plain image: %v\n%s", err, got)
	}
	member := execHost + "/org/app@" + s.bundle.members[1].node.desc.Digest.String()
	if got, err := inspect(member); err == nil || !strings.Contains(got, "client.key: permission denied") {
		t.Errorf("a member: %v\n%s", err, got)
	}
	s.install(t, "node", "--allow-group", "65534")
	if got, err := inspect(member); err != nil || got != string(s.bundle.members[1].node.data) {
		t.Errorf("a member, for a group that may: %v\n%s", err, got)
	}
}

// TestContainersMirrors: an administrator's mirror is asked by the gateway, and by the programs when there is none; it
// sees nobody's credential, and the registry is asked for as much as without it.
func TestContainersMirrors(t *testing.T) {
	const mirror, site = "mirror.example.com", "registries.conf.d/50-site.conf"
	s := newMirrorScene(t, "node")
	var mu sync.Mutex
	var asked []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	s.proxy.at[mirror+":443"] = server.Listener.Addr().String()
	writeFile(t, filepath.Join(s.containers(), site), "[[registry]]\nlocation = \""+execHost+"\"\n[[registry.mirror]]\nlocation = \""+mirror+"/cached\"\n")
	s.install(t, "node")

	s.forRegctl(t, mirror)
	seen := func() string {
		mu.Lock()
		defer mu.Unlock()
		all := strings.ReplaceAll(strings.Join(asked, "\n"), "Basic Og==", "") // nobody, without a password
		asked = nil
		return all
	}
	for _, p := range gatewayPrograms {
		s.registry.requests()
		s.do(t, s.command(p, cmp.Or(p.all, p.one), plainRef, "amd64"))
		s.checkFloor(t)
		if got := seen(); !strings.Contains(got, "/v2/cached/org/app/manifests/plain") || leaks(got) || strings.Contains(got, "Basic") || strings.Contains(got, "Bearer") {
			t.Errorf("%s: through the gateway the mirror was asked\n%s", p.name, got)
		}
		must(t, os.RemoveAll(filepath.Join(s.dir, "out")))
	}
	s.gateway.stop(t)
	for _, p := range gatewayPrograms {
		if p.inPath {
			continue // it has no mirrors
		}
		s.pull(t, p, plainRef, "amd64", s.plain)
		if got := seen(); !strings.Contains(got, "/v2/") || leaks(got) || strings.Contains(got, "Basic") || strings.Contains(got, "Bearer") {
			t.Errorf("%s: without the gateway the mirror was asked\n%s", p.name, got)
		}
	}
}

// TestContainersUninstall: installing for these programs, and uninstalling, leaves an administrator's files as they were.
func TestContainersUninstall(t *testing.T) {
	needs(t, "linux", "nestctl")
	root := tempDir(t)
	writeFile(t, filepath.Join(root, "etc/containers/registries.conf"), "# mine\n[[registry]]\nlocation = \""+execHost+"\"\n")
	writeFile(t, filepath.Join(root, "etc/containers/certs.d", execHost, "ca.crt"), "mine\n")
	before := treeOf(t, root)
	n := newNestctl(t, "")
	n.run(t, "install", "--for", "containers", "--mode", "node", "--registry", execHost, "--root", root, "--no-systemd")
	if text := readText(t, filepath.Join(root, "etc/containers/registries.conf.d/zzz-nested.conf")); !strings.Contains(text, "127.0.0.1:7117/"+execHost) {
		t.Errorf("the drop-in is\n%s", text)
	}
	n.run(t, "uninstall", "--root", root)
	wantTree(t, treeOf(t, root), before)
}
