package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node/nodetest"
	"github.com/nestedoci/nested/internal/usage"
)

const (
	ofContainerd = config.ContainerdCerts + "/reg.test/hosts.toml"
	ofDocker     = DockerCerts + "/reg.test/hosts.toml"
	ofK3s        = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d/reg.test/hosts.toml"
	ofRKE2       = "/var/lib/rancher/rke2/agent/etc/containerd/certs.d/reg.test/hosts.toml"
)

// has lists which hosts.toml files are there.
func (n *machine) has() []string {
	n.T.Helper()
	var all []string
	for _, path := range []string{ofContainerd, ofDocker, ofK3s, ofRKE2} {
		if _, err := os.Stat(n.Path(path)); err == nil {
			all = append(all, path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			n.T.Fatal(err)
		}
	}
	return all
}

// TestInstallsForWhatIsFound: without a name it is what the image has, and never what this
// machine has.
func TestInstallsForWhatIsFound(t *testing.T) {
	for _, test := range []struct {
		name, mode string
		files      []string
		want       []string
		does       string
	}{
		{"nothing", "node", nil, []string{ofContainerd}, "for containerd: hosts.toml of each registry in /etc/containerd/certs.d"},
		{"containerd's configuration", "node", []string{"/etc/containerd/config.toml"}, []string{ofContainerd}, "for containerd, found by /etc/containerd: "},
		{"containerd's program", "pod", []string{"/usr/bin/containerd"}, []string{ofContainerd}, "for containerd, found by /usr/bin/containerd: "},
		{"Docker that runs from elsewhere", "node", []string{"/run/docker.pid"}, []string{ofDocker}, "for docker, found by /run/docker.pid: hosts.toml of each registry in /etc/docker/certs.d"},
		{"what others, and a Docker that is gone, leave", "node", []string{"/etc/docker/certs.d/reg.test/ca.crt", "/etc/docker/daemon.json", "/etc/docker/key.json"}, []string{ofContainerd}, "for containerd: "},
		{"Docker with its containerd", "node", []string{"/usr/bin/dockerd", "/usr/bin/containerd"}, []string{ofContainerd, ofDocker}, "for docker, found by /usr/bin/dockerd: "},
		{"Docker with images of a graphdriver", "node", []string{"/usr/bin/dockerd", "/usr/bin/containerd", "/var/lib/docker/overlay2/l"}, []string{ofContainerd}, "not for docker, found by /usr/bin/dockerd: /var/lib/docker/overlay2 has images: its graphdriver image store does not ask the gateway; use nestctl serve"},
		{"Docker that cannot be read", "node", []string{"/usr/bin/dockerd", "/etc/docker/daemon.json/x"}, []string{ofContainerd}, "not for docker, found by /usr/bin/dockerd: /etc/docker/daemon.json: is a directory"},
		{"Docker in mode pod", "pod", []string{"/usr/bin/dockerd", "/usr/bin/containerd"}, []string{ofContainerd}, "not for docker, found by /usr/bin/dockerd: mode pod cannot work"},
		{"Docker alone in mode pod", "pod", []string{"/usr/bin/dockerd"}, []string{ofContainerd}, "not for docker, found by /usr/bin/dockerd: mode pod cannot work"},
		{"k3s", "pod", []string{"/var/lib/rancher/k3s/agent/client-ca.crt"}, []string{ofK3s}, "for k3s, found by /var/lib/rancher/k3s/agent: "},
		{"a server of k3s without an agent", "pod", []string{"/var/lib/rancher/k3s/server/token"}, []string{ofContainerd}, "for containerd: "},
		{"RKE2", "node", []string{"/usr/local/bin/rke2"}, []string{ofRKE2}, "for rke2, found by /usr/local/bin/rke2: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := on(&nodetest.Machine{T: t, Root: t.TempDir()})
			n.Put(map[string]string{"/etc/hostname": "node\n"})
			for _, path := range test.files {
				n.Put(map[string]string{path: "x"})
			}
			before := n.Tree()
			o := Options{Mode: test.mode, Registries: []string{"reg.test"}}
			for _, run := range []struct {
				what    string
				install func() (Result, error)
				want    []string
			}{
				{"dry", func() (Result, error) { return DryRun(t.Context(), n.Root, o) }, nil},
				{"really", func() (Result, error) { return Install(t.Context(), n.Root, o) }, test.want},
			} {
				done, err := run.install()
				n.Must(err)
				if got := n.has(); !slices.Equal(got, run.want) {
					t.Errorf("%s: installed %q, want %q", run.what, got, run.want)
				}
				if says := strings.Join(done.Does, "\n"); !strings.Contains(says, test.does) {
					t.Errorf("%s: it says\n%s", run.what, says)
				}
				for _, path := range test.want {
					if !slices.Contains(done.Wrote, path) {
						t.Errorf("%s: wrote %q", run.what, done.Wrote)
					}
				}
			}
			n.Must(n.uninstall())
			n.WantTree(before)
		})
	}
}

// TestClientsAreAddedTo: a later installation for another program takes nothing away from
// the first, renewal looks after all, and uninstall brings back each directory byte for byte.
func TestClientsAreAddedTo(t *testing.T) {
	n := newMachine(t, map[string]string{
		ofDocker:                             "# ours\nserver = \"https://reg.test\"\n",
		DockerCerts + "/old.test/ca.crt":     "a CA\n",
		DockerCerts + "/old.test/client.key": "a key\n",
		ofRKE2:                               "[host.\"https://mirror.test\"]\n",
	})
	before := n.Tree()
	o := Options{Mode: "node", Registries: []string{"reg.test", "old.test"}, For: []string{"docker"}}
	_, err := Install(t.Context(), n.Root, o)
	n.Must(err)
	if got := n.has(); !slices.Equal(got, []string{ofDocker, ofRKE2}) || strings.Contains(string(n.Read(ofRKE2)), "127.0.0.1") {
		t.Errorf("for docker: %q", got)
	}
	o.For = []string{"k3s,containerd", "rke2"}
	done, err := Install(t.Context(), n.Root, o)
	n.Must(err)
	if len(done.Removed)+len(done.Restored)+len(done.Left) > 0 {
		t.Errorf("it took away %+v", done.Changes)
	}
	o.For = nil
	done, err = Install(t.Context(), n.Root, o)
	n.Must(err)
	if len(done.Paths()) > 0 || len(done.Does) != 4 {
		t.Errorf("once more, without a name: %q, %+v", done.Does, done.Changes)
	}
	if want := "nestctl install --mode node --registry reg.test --registry old.test --for docker --for k3s --for containerd --for rke2"; done.Options.Command() != want {
		t.Errorf("to repeat it: %s", done.Options.Command())
	}
	all := []string{ofContainerd, ofDocker, ofK3s, ofRKE2}
	for _, path := range all {
		n.Must(os.Remove(n.Path(path)))
	}
	n.Must(n.renew())
	for _, path := range all {
		if text := string(n.Read(path)); !strings.Contains(text, "https://127.0.0.1:7117") {
			t.Errorf("after a renewal %s is\n%s", path, text)
		}
	}
	if unit := string(n.Read(UnitDir + "/nested-renew.service")); !strings.Contains(unit, "ReadWritePaths=/etc/nested "+
		strings.Join([]string{config.ContainerdCerts, DockerCerts, filepath.Dir(filepath.Dir(ofK3s)), filepath.Dir(filepath.Dir(ofRKE2))}, " ")+"\n") {
		t.Errorf("the service may not write everywhere:\n%s", unit)
	}
	n.Must(n.uninstall())
	n.WantTree(before)
}

// TestClientThatCannotWorkIsRefused before anything is written, whoever names it.
func TestClientThatCannotWorkIsRefused(t *testing.T) {
	n := newMachine(t, nil)
	file := filepath.Join(t.TempDir(), "config.toml")
	n.Must(os.WriteFile(file, []byte("[gateway]\nmode = \"pod\"\nregistries = [\"reg.test\"]\n"), 0o600))
	refused := func(what string, o Options) {
		t.Helper()
		before := n.Tree()
		_, err := Install(t.Context(), n.Root, o)
		if !errors.As(err, new(usage.Error)) || !strings.HasPrefix(err.Error(), "for docker: mode pod cannot work") {
			t.Errorf("%s: %v", what, err)
		}
		n.WantTree(before)
	}
	refused("both named", Options{Mode: "pod", Registries: []string{"reg.test"}, For: []string{"containerd", "docker"}})
	refused("a file's mode", Options{ConfigFile: file, For: []string{"docker"}})
	_, err := Install(t.Context(), n.Root, Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{"docker"}})
	n.Must(err)
	refused("installed for", Options{Mode: "pod", Registries: []string{"reg.test"}})
	before := n.Tree()
	_, err = Install(t.Context(), n.Root, Options{Mode: "node", Registries: []string{"reg.test"}, Address: "[::1]:7117", For: []string{Containers}})
	if !errors.As(err, new(usage.Error)) || !strings.HasPrefix(err.Error(), "for containers: these programs cannot name a mirror at the IPv6 address [::1]:7117") {
		t.Errorf("an address that podman cannot name: %v", err)
	}
	n.WantTree(before)
	for _, bad := range []string{"", "Docker", "docker,", "docker, k3s", "../docker"} {
		if _, err := Install(t.Context(), filepath.Join(n.Root, "nowhere"), Options{For: []string{bad}}); !errors.As(err, new(usage.Error)) || !strings.HasPrefix(err.Error(), "for ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRecordOfEarlierVersionIsContainerds: it names no client, and is added to as it is.
func TestRecordOfEarlierVersionIsContainerds(t *testing.T) {
	const certs = "/opt/certs.d"
	n := newMachine(t, nil)
	before := n.Tree()
	o := Options{Mode: "node", Registries: []string{"reg.test"}, ContainerdCerts: Directories{certs}}
	n.Must(n.install(o))
	r := n.record()
	r.Options.For = nil
	text, err := json.Marshal(r)
	n.Must(err)
	n.Must(os.WriteFile(n.Path(recordPath), text, 0o600))
	if got := n.record().Options.For; !slices.Equal(got, []string{Containerd}) {
		t.Errorf("it is of %q", got)
	}
	n.Must(n.renew())
	_, err = Install(t.Context(), n.Root, Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{"docker"}})
	n.Must(err)
	if got := n.record().Options; !slices.Equal(got.HostsDirs(), []string{certs, DockerCerts}) {
		t.Errorf("with Docker it is of %q", got.HostsDirs())
	}
	if got := n.has(); !slices.Equal(got, []string{ofDocker}) {
		t.Errorf("containerd has another directory, and there are %q", got)
	}
	n.Must(n.uninstall())
	n.WantTree(before)
}

// TestOneDirectoryOfTwoClients: where Docker's directory is a link to containerd's both have
// the gateway, and what was installed when it was none is not taken away by the link.
func TestOneDirectoryOfTwoClients(t *testing.T) {
	for _, later := range []bool{false, true} {
		n := newMachine(t, map[string]string{"/etc/docker/key.json": "{}", ofContainerd: "server = \"https://mirror.test\"\n"})
		link := func() { n.Must(os.Symlink("../containerd/certs.d", n.Path(DockerCerts))) }
		if !later {
			link()
		}
		before := n.Tree()
		o := Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{"containerd", "docker"}}
		n.Must(n.install(o))
		if later {
			n.Must(os.RemoveAll(n.Path(DockerCerts)))
			link()
			before["/etc/docker/certs.d"] = n.Tree()["/etc/docker/certs.d"]
			n.Must(n.install(o))
		}
		for _, path := range []string{ofContainerd, ofDocker} {
			if text := string(n.Read(path)); !strings.Contains(text, "https://127.0.0.1:7117") {
				t.Errorf("linked later: %t: %s is\n%s", later, path, text)
			}
		}
		n.Must(n.renew())
		n.Must(n.uninstall())
		n.WantTree(before)
	}
}

// TestDockersOwnSettingsStayInForce: a hosts.toml with the gateway in it says what daemon.json
// said, also of the gateway's own way, follows it later, and leaves an administrator's alone.
func TestDockersOwnSettingsStayInForce(t *testing.T) {
	const settings = "/etc/docker/daemon.json"
	n := newMachine(t, map[string]string{
		settings:                               `{"insecure-registries":["plain.test:5000","10.0.0.0/8","near.test"],"registry-mirrors":["https://near.test/hub/","https://far.test"]}`,
		DockerCerts + "/plain.test:5000/a.crt": "a CA\n",
		DockerCerts + "/own.test/hosts.toml":   "[host.\"https://mirror.test\"]\n",
	})
	before := n.Tree()
	o := Options{Mode: "node", Registries: []string{"plain.test:5000", "10.1.2.3", "docker.io", "own.test", "reg.test"}, For: []string{Docker}}
	if _, err := Install(t.Context(), n.Root, o); err != nil {
		t.Fatal(err)
	}
	check := func(registry, server string, skip bool, mirrors ...string) {
		t.Helper()
		for dir, hosts := range map[string][]string{DockerCerts: append([]string{"https://127.0.0.1:7117"}, mirrors...), "/etc/nested/certs.d": mirrors} {
			text, err := os.ReadFile(n.Path(filepath.Join(dir, registry, "hosts.toml")))
			if errors.Is(err, fs.ErrNotExist) && dir != DockerCerts && !skip && mirrors == nil {
				continue // the gateway has nothing to say
			}
			n.Must(err)
			got, err := config.ParseHosts("", text)
			n.Must(err)
			var urls []string
			for _, h := range got.Hosts {
				urls = append(urls, h.URL)
				if h.SkipVerify != strings.Contains(h.URL, "near.test") {
					t.Errorf("%s in %s: %+v", registry, dir, h)
				}
			}
			if got.Server.URL == "" && dir != DockerCerts {
				got.Server.URL = server // which is assumed
			}
			if got.Server.SkipVerify != skip || got.Server.URL != server || !slices.Equal(urls, hosts) {
				t.Errorf("%s in %s is\n%s", registry, dir, text)
			}
		}
	}
	check("plain.test:5000", "http://plain.test:5000", true)
	check("10.1.2.3", "http://10.1.2.3", true)
	check("docker.io", "https://registry-1.docker.io", false, "https://near.test/hub", "https://far.test")
	check("reg.test", "https://reg.test", false)
	check("own.test", "https://own.test", false, "https://mirror.test")
	once := n.Tree()
	n.Must(n.renew())
	n.WantTree(once)
	n.Put(map[string]string{settings: `{"insecure-registries":["reg.test"]}`})
	n.Must(n.renew())
	check("plain.test:5000", "https://plain.test:5000", false)
	check("reg.test", "http://reg.test", true)
	n.Put(map[string]string{settings: "{"})
	if err := n.renew(); err == nil || !strings.HasPrefix(err.Error(), settings+": ") {
		t.Errorf("settings that do not parse: %v", err)
	}
	n.Must(n.uninstall())
	n.Put(map[string]string{settings: strings.SplitN(before[settings], "\n", 2)[1]})
	n.WantTree(before)
}
