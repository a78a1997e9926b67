package doctor

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/node"
)

// problems are those of a check, one a line.
func problems(all []Problem) string {
	var lines []string
	for _, p := range all {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// TestDoctorFindsDockersImageStore from its files, as Docker Engine chooses it (moby's daemon/image_store_choice.go and
// graphdriver.HasPriorDriver), or by asking it.
func TestDoctorFindsDockersImageStore(t *testing.T) {
	const graph = ": Docker Engine uses its graphdriver image store, which does not ask the gateway; fix: set \"features\": {\"containerd-snapshotter\": true} in *nestctl serve*"
	snapshotter, driver := `{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}`, `{"DriverStatus":[["Backing Filesystem","extfs"]]}`
	for _, test := range []struct {
		name, json, prior, answer string // answer is empty where Docker does not run, "-" in an image
		want                      string
	}{
		{"fresh image", "", "", "-", ""},
		{"fresh, runs with snapshotters", "", "", snapshotter, ""},
		{"fresh, runs with a driver", "", "", driver, "problem: /run/docker.sock" + graph},
		{"fresh, does not run", "", "", "", ""},
		{"fresh, and ends", "", "", "gone", "problem: which image store Docker Engine uses cannot be found out: *refused; fix: start Docker*"},
		{"of Debian 12", `{"features":{"containerd-snapshotter":true}}`, "overlay2/l", `{"ServerVersion":"20.10.24+dfsg1"}`,
			`problem: /run/docker.sock: Docker Engine "20.10.24+dfsg1" reads no hosts.toml and does not ask the gateway; fix: update Docker Engine to 28 or later, and then *nestctl serve*`},
		{"the last that cannot", "", "", `{"ServerVersion":"27.5.1",` + snapshotter[1:], `problem: /run/docker.sock: Docker Engine "27.5.1" reads no *`},
		{"the first that can", "", "", `{"ServerVersion":"28.0.0",` + snapshotter[1:], ""},
		{"built from a branch", "", "", `{"ServerVersion":"dev"}`, "problem: /run/docker.sock" + graph},
		{"answers nonsense", "", "", "[]", "problem: which image store Docker Engine uses cannot be found out: /run/docker.sock answers 200; fix: start Docker*"},
		{"switched on", `{"features":{"containerd-snapshotter":true}}`, "overlay2/l", "", ""},
		{"switched on since", `{"features":{"containerd-snapshotter":true}}`, "overlay2/l", driver, "problem: /run/docker.sock" + graph},
		{"switched off", `{"features":{"containerd-snapshotter":false}}`, "", "-", `problem: /etc/docker/daemon.json: "containerd-snapshotter": false` + graph},
		{"a driver", `{"storage-driver":"vfs"}`, "", "", `problem: /etc/docker/daemon.json: "storage-driver": "vfs"` + graph},
		{"a snapshotter", `{"storage-driver":"overlayfs"}`, "", "-", ""},
		{"an earlier version's images", "", "overlay2/l", "-", "problem: /var/lib/docker/overlay2 has images" + graph},
		{"elsewhere", `{"data-root":"/data"}`, "overlay2/l", "-", ""},
		{"of vfs do not count", "", "vfs/dir", "-", ""},
		{"users are mapped", `{"userns-remap":"default"}`, "", "-", `problem: /etc/docker/daemon.json: "userns-remap", which *` + graph},
		{"not JSON", `{"features":`, "", "-", "problem: /etc/docker/daemon.json: *; fix: correct it"},
		{"of another type", `{"features":["x"]}`, "", "-", "problem: /etc/docker/daemon.json: *; fix: correct it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newMachine(t, nil)
			if test.json != "" {
				n.Put(map[string]string{node.DockerConfig: test.json})
			}
			if test.prior != "" {
				n.Put(map[string]string{filepath.Join("/var/lib/docker", test.prior): "x"})
			}
			n.answerAsDocker(test.answer)
			d := load(Options{Root: n.Root})
			if got := problems(d.checkDocker(t.Context(), test.answer != "-")); !fits(test.want, got) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// answerAsDocker answers on Docker Engine's socket, if there is an answer.
func (n *machine) answerAsDocker(answer string) {
	n.T.Helper()
	if len(answer) < 2 {
		return
	}
	n.Must(os.MkdirAll(n.Path("/run"), 0o755))
	dir, err := os.MkdirTemp("", "d") // a socket's path may have 107 bytes
	n.Must(err)
	n.T.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	n.Must(err)
	n.Must(os.Symlink(filepath.Join(dir, "s"), n.Path(dockerSocket)))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			fmt.Fprint(w, answer)
		}
	})}
	if answer == "gone" {
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		n.Must(listener.Close())
		return
	}
	go func() { _ = server.Serve(listener) }()
	n.T.Cleanup(func() { _ = server.Close() })
}

// TestDoctorFindsWhatDockerIgnores: with the gateway in a hosts.toml, Docker Engine takes neither mirrors nor insecure
// registries from its own configuration (mergeLegacyConfig in moby's daemon/hosts.go).
func TestDoctorFindsWhatDockerIgnores(t *testing.T) {
	const store = `"features":{"containerd-snapshotter":true}`
	for _, test := range []struct{ registry, json, hosts, want string }{
		{"reg.test:5000", `"insecure-registries":["reg.test:5000"]`, "", ""},
		{"reg.test:5000", `"insecure-registries":["reg.test:5000"]`, "server = \"https://reg.test:5000\"\n", `problem: /etc/docker/daemon.json: "insecure-registries" has reg.test:5000: is ignored*; fix: write server = "http://reg.test:5000", or skip_verify = true, at the beginning of /etc/docker/certs.d/reg.test:5000/hosts.toml, then nestctl install *--for docker*`},
		{"reg.test:5000", `"insecure-registries":["reg.test"]`, "", ""},
		{"reg.test:5000", `"insecure-registries":["reg.test:5000"]`, "server = \"http://reg.test:5000\"\n", ""},
		{"reg.test:5000", `"insecure-registries":["reg.test:5000"]`, "server = \"https://reg.test:5000\"\nskip_verify = true\n", ""},
		{"10.1.2.3:5000", `"insecure-registries":["10.0.0.0/8"]`, "server = \"https://10.1.2.3:5000\"\n", `problem: /etc/docker/daemon.json: "insecure-registries" has 10.1.2.3:5000*`},
		{"docker.io", `"registry-mirrors":["https://mirror.test"]`, "", ""},
		{"docker.io", `"registry-mirrors":["https://mirror.test"]`, "server = \"https://registry-1.docker.io\"\n", `problem: /etc/docker/daemon.json: "registry-mirrors": is ignored*; fix: write each as [host."URL"] into /etc/docker/certs.d/docker.io/hosts.toml, then nestctl install*`},
		{"docker.io", `"registry-mirrors":["https://mirror.test"]`, "[host.\"https://mirror.test\"]\n", ""},
		{"reg.test", `"registry-mirrors":["https://mirror.test"]`, "", ""},
	} {
		n := newMachine(t, map[string]string{node.DockerConfig: "{" + store + "," + test.json + "}"})
		if test.hosts != "" {
			n.Put(map[string]string{filepath.Join(node.DockerCerts, test.registry, "hosts.toml"): test.hosts})
		}
		o := installOn(test.registry)
		o.For = []string{node.Docker}
		n.install(o)
		d := load(Options{Root: n.Root, Config: "/etc/nested/config.toml"})
		if got := problems(d.checkDocker(t.Context(), false)); !fits(test.want, got) {
			t.Errorf("%+v: got\n%s", test, got)
		}
	}
}

// TestDoctorOfDockerAlone: containerd's own configuration is not asked for then, and a
// configuration that was changed to mode pod is told.
func TestDoctorOfDockerAlone(t *testing.T) {
	n := newMachine(t, map[string]string{node.DockerConfig: `{"features":{"containerd-snapshotter":true}}`})
	n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
	o := installOn("reg.test")
	o.For = []string{node.Docker}
	n.install(o)
	look := func() string {
		var out strings.Builder
		_, err := Look(t.Context(), Options{Root: n.Root, Config: "/etc/nested/config.toml", ContainerdConfig: containerd}, func(p Problem) { fmt.Fprintln(&out, p) })
		n.Must(err)
		return out.String()
	}
	if got := look(); got != "" {
		t.Errorf("installed as it should be: %s", got)
	}
	n.Put(map[string]string{"/etc/nested/config.toml": "[gateway]\nmode = \"pod\"\nregistries = [\"reg.test\"]\n"})
	if got := look(); !strings.Contains(got, "gateway.mode is pod: Docker Engine sends no credential to the gateway; fix: ") {
		t.Errorf("in mode pod: %s", got)
	}
	n.Must(os.Remove(n.Path(node.DockerCerts + "/reg.test/hosts.toml")))
	if got := look(); !strings.Contains(got, "problem: /etc/docker/certs.d/reg.test/hosts.toml does not exist") {
		t.Errorf("without hosts.toml: %s", got)
	}
}

// TestDoctorOfRancher: what k3s and RKE2 give to CRI alone, what only their containerd
// does, and a configuration that they write.
func TestDoctorOfRancher(t *testing.T) {
	for _, program := range []string{node.K3s, node.RKE2} {
		for mode, want := range map[string]string{
			"node": `problem: /etc/rancher/PROGRAM/registries.yaml: auth of reg.test goes to CRI alone: in mode node the gateway never sees it; fix: docker login reg.test, or write it into a file of credentials.docker_config (["/root/.docker/config.json" *]), and remove it from /etc/rancher/PROGRAM/registries.yaml` + "\n",
			"pod":  "",
		} {
			certs := node.RancherDir(program) + "/certs.d"
			n := newMachine(t, map[string]string{
				registriesFile(program): "configs:\n  reg.test:\n    auth:\n      username: ann\n      password: HUNTER2\n  other.test:\n    auth: {username: x}\n  bare.test: {}\n",
				certs + "/reg.test/hosts.toml": "# File generated by " + program + ". DO NOT EDIT.\nserver = \"https://reg.test/v2\"\n[host]\n[host.\"https://mirror.test/v2\"]\n" +
					"  capabilities = [\"pull\", \"resolve\"]\n  [host.\"https://mirror.test/v2\".rewrite]\n    \"^(.*)$\" = \"near/$1\"\n",
				node.RancherDir(program) + "/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '" + certs + "'\n" +
					"[plugins.'io.containerd.cri.v1.images'.registry.configs.'reg.test'.auth]\nusername = 'ann'\n",
			})
			n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
			o := installOn("reg.test", "bare.test")
			o.Mode, o.For = mode, []string{program}
			n.install(o)
			var out strings.Builder
			_, err := Look(t.Context(), Options{Root: n.Root, Config: "/etc/nested/config.toml", ContainerdConfig: containerd}, func(p Problem) { fmt.Fprintln(&out, p) })
			n.Must(err)
			want += `problem: /etc/nested/certs.d/reg.test/hosts.toml: [host."https://mirror.test/v2".rewrite] is not applied by the gateway, which asks that mirror for repositories by their own names; fix: let the mirror serve reg.test under its own names, and remove rewrite from registries.yaml` + "\n" +
				`problem: ` + node.RancherDir(program) + `/config.toml: [plugins."io.containerd.cri.v1.images"] registry.configs is set: CRI *; PROGRAM writes the file from /etc/rancher/PROGRAM/registries.yaml and from templates beside it: change it there, and restart PROGRAM` + "\n"
			if want = strings.ReplaceAll(want, "PROGRAM", program); !fits(want, out.String()) {
				t.Errorf("%s, mode %s: got\n%s\nwant\n%s", program, mode, &out, want)
			}
			n.Put(map[string]string{registriesFile(program): "configs: [HUNTER2\n"})
			if got := problems(load(Options{Root: n.Root, Config: "/etc/nested/config.toml"}).checkAuths(registriesFile(program))); !strings.Contains(got, "is not YAML") || strings.Contains(got, "HUNTER2") {
				t.Errorf("a file that does not parse: %s", got)
			}
		}
	}
}
