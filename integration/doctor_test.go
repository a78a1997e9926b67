//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
)

// doctorNode is a node with its files where programs have them, and a gateway that is installed for several.
type doctorNode struct {
	*app
	gateway  *gatewayProcess
	logins   string // the file with the gateway's credentials
	buildKit string // buildkitd's configuration
}

func startDoctorNode(t *testing.T) *doctorNode {
	t.Helper()
	n := &doctorNode{app: publish(t, newImagesBundle(t))}
	must(t, os.RemoveAll("/etc/containers/registries.conf.d"))
	writeHosts(t, config.ContainerdCerts, n.host, n.hostsOf())
	writeFile(t, "/etc/containerd/config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	g := &gatewayProcess{config: config.Path, address: freeAddress(t), docker: dockerConfig(t, n.app.logins, nil)}
	n.gateway, n.logins = g, filepath.Join(g.docker, "config.json")
	must(t, os.Chmod(n.logins, 0o600))
	n.buildKit = newNestctl(t, "").run(t, "install", "--for", "containerd,containers,buildkit", "--mode", "node", "--registry", n.host, "--address", g.address,
		"--docker-config", n.logins, "--no-systemd").stdout
	writeFile(t, "/etc/buildkit/buildkitd.toml", n.buildKit)
	g.client = onlyFile(t, filepath.Join(config.ContainerdCerts, n.host, "nested-????????.pem"))
	g.boot(t)
	return n
}

// pulls is what comes of it when each program pulls, into a store that has nothing.
func (n *doctorNode) pulls(t *testing.T) map[string]error {
	t.Helper()
	skopeo := exec.CommandContext(t.Context(), "/usr/bin/skopeo", "copy", "--all", "docker://"+n.ref, "oci:all:v1")
	skopeo.Dir, skopeo.Env = t.TempDir(), []string{"HOME=" + t.TempDir(), "PATH=/nowhere"}
	out, errSkopeo := skopeo.CombinedOutput()
	pulled, errContainerd := startContainerd(t).tryPullHosts(t, transfer, config.ContainerdCerts, n.ref)
	built, errBuildKit := startBuildKit(t, n.buildKit).build(t, n.ref, "linux/amd64")
	t.Logf("skopeo: %s\nctr: %s\nbuildctl: %s", out, pulled[max(0, len(pulled)-500):], built)
	return map[string]error{"containers": errSkopeo, "containerd": errContainerd, "buildkit": errBuildKit}
}

// diagnose is the table of doctor, as the results of programs.
func (n *doctorNode) diagnose(t *testing.T) (results map[string]string, code int) {
	t.Helper()
	got := newNestctl(t, "").try(t, "doctor", n.ref)
	t.Logf("%s%s", got.stdout, got.stderr)
	results = map[string]string{}
	for line := range strings.Lines(got.stdout) {
		cells := regexp.MustCompile(`  +`).Split(strings.TrimSuffix(line, "\n"), -1)
		if program, _, _ := strings.Cut(cells[0], " "); len(cells) > 2 && program != "program" && !strings.HasPrefix(cells[1], "not installed for") {
			results[program] = cells[2]
		}
	}
	if leaks(got.stdout) {
		t.Error("a secret is shown")
	}
	return results, got.code
}

// TestDoctorAgrees: of each program the doctor says that it pulls if it does, and that it does not if it does not: with
// other certificates, files that the program refuses, another mirror before the gateway, a member that is denied, and no gateway.
func TestDoctorAgrees(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "skopeo", "containerd", "buildkitd", "buildctl", "runc")
	privately(t, func(t *testing.T, _ string) {
		n := startDoctorNode(t)
		stranger, err := config.NewCertificates(n.gateway.address, time.Now())
		must(t, err)
		hosts := filepath.Join(config.ContainerdCerts, n.host, "hosts.toml")
		key := onlyFile(t, "/etc/nested/tls/buildkit/nested-*.key")
		for _, test := range []struct {
			name  string
			spoil map[string]string // texts of files
			fail  []string
		}{
			{"well", nil, nil},
			{"containerd's certificate", map[string]string{n.gateway.client: string(stranger.Client)}, []string{"containerd"}},
			{"the CA of another mirror of containerd's", map[string]string{hosts: readText(t, hosts) + "[host.\"https://mirror.test\"]\nca = \"gone.pem\"\n"}, []string{"containerd"}},
			{"podman's short names", map[string]string{"/etc/containers/registries.conf.d/zzzz.conf": "short-name-mode = \"strict\"\n"}, []string{"containers"}},
			{"another mirror of podman's", map[string]string{"/etc/containers/registries.conf.d/zzzz.conf": fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", n.host)}, []string{"containers"}},
			{"buildkitd's key", map[string]string{key: "x"}, []string{"buildkit"}},
			{"a member is denied", map[string]string{n.logins: "{}"}, []string{"containerd", "containers", "buildkit"}},
			{"no gateway", nil, []string{"containerd", "containers", "buildkit"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				restore := func() {}
				for path, text := range test.spoil {
					before, err := os.ReadFile(path)
					restore = func() {
						must(t, os.Remove(path))
						if err == nil {
							must(t, os.WriteFile(path, before, 0o600))
						}
					}
					must(t, os.WriteFile(path, []byte(text), 0o600))
				}
				if test.name == "no gateway" {
					n.gateway.stop(t)
				}
				n.check(t, test.fail)
				restore()
			})
		}
	})
}

// check checks what the doctor says against what the programs do, of which some are to fail.
func (n *doctorNode) check(t *testing.T, fail []string) {
	t.Helper()
	results, code := n.diagnose(t)
	if (code != 0) != (fail != nil) {
		t.Errorf("exit code %d", code)
	}
	var failed []string
	for program, err := range n.pulls(t) {
		if says := strings.HasPrefix(results[program], "pulled, "); says != (err == nil) || errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%s: %v, and the doctor says %q", program, err, results[program])
		}
		if err != nil {
			failed = append(failed, program)
		}
	}
	if len(failed) != len(fail) {
		t.Errorf("%q fail, want %q", failed, fail)
	}
}
