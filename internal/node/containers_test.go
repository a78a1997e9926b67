package node

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
)

const (
	registriesConf = "/etc/containers/registries.conf"
	otherDropIn    = "/etc/containers/registries.conf.d/50-site.conf"
	gatewaysCerts  = "/etc/containers/certs.d/127.0.0.1:7117"
)

// forContainers is an installation for podman and its like alone.
func forContainers(registries ...string) Options {
	o := installOn(registries...)
	o.For, o.ContainerdCerts = []string{Containers}, nil
	return o
}

// tables are what containers/image finds on the machine.
func (n *machine) tables() registriesconf.Config {
	n.T.Helper()
	d, err := openDisk(n.Root)
	n.Must(err)
	defer d.close()
	files, err := registriesconf.Read(confDisk{d}, "")
	n.Must(err)
	return registriesconf.Merge(files)
}

// mirrors are the locations of a registry's mirrors, and then its own.
func (n *machine) mirrors(registry string) (all []string) {
	n.T.Helper()
	table, _ := n.tables().Find(registry)
	for _, m := range append(slices.Clone(table.Mirrors), table.Endpoint) {
		location := m.Location
		if m.Insecure {
			location += " insecure"
		}
		all = append(all, strings.TrimSpace(location+" "+m.PullFrom))
	}
	return all
}

// upstream is the gateway's own hosts.toml of a registry; empty when there is
// none.
func (n *machine) upstream(registry string) string {
	n.T.Helper()
	text, err := os.ReadFile(n.Path(filepath.Join(config.Default().Gateway.HostsDir, registry, "hosts.toml")))
	if err != nil && !os.IsNotExist(err) {
		n.T.Fatal(err)
	}
	return string(text)
}

// TestContainersTakeOver: an administrator's tables are taken over: their mirrors come after the gateway, which asks them.
func TestContainersTakeOver(t *testing.T) {
	const gateway = "127.0.0.1:7117/reg.test"
	for name, test := range map[string]struct {
		files    map[string]string
		mirrors  []string
		upstream string
	}{
		"nothing": {nil, []string{gateway, "reg.test"}, ""},
		"mirrors": {
			map[string]string{registriesConf: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n[[registry.mirror]]\nlocation = \"two.test:5000/a/b\"\ninsecure = true\n"},
			[]string{gateway, "one.test", "two.test:5000/a/b insecure", "reg.test"},
			"\n[host.\"https://one.test\"]\n\n[host.\"https://two.test:5000/v2/a/b\"]\n  skip_verify = true\n  override_path = true\n\n[host.\"http://two.test:5000/v2/a/b\"]\n  override_path = true\n",
		},
		"the last file counts": {
			map[string]string{
				registriesConf: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n",
				otherDropIn:    "[[registry]]\nprefix = \"reg.test\"\nlocation = \"elsewhere.test/x\"\n",
			},
			[]string{gateway, "elsewhere.test/x"},
			"server = \"https://elsewhere.test/v2/x\"\noverride_path = true\n",
		},
		"by digest": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
			[]string{gateway, "one.test digest-only", "reg.test"},
			"\n[host.\"https://one.test\"]\n  capabilities = [\"pull\"]\n",
		},
		"insecure": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\ninsecure = true\n"},
			[]string{gateway, "reg.test insecure"},
			"server = \"http://reg.test\"\n\n[host.\"https://reg.test\"]\n  skip_verify = true\n",
		},
		"blocked but for mirrors": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\nblocked = true\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
			[]string{gateway, "one.test", "reg.test"},
			"server = \"https://one.test\"\n",
		},
		"blocked": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\nblocked = true\n"},
			[]string{"reg.test"}, "",
		},
		"a wildcard": {
			map[string]string{otherDropIn: "[[registry]]\nprefix = \"*.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
			[]string{gateway, "one.test", "reg.test"},
			"\n[host.\"https://one.test\"]\n",
		},
		"the gateway by hand": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"localhost:7117/reg.test\"\n"},
			[]string{gateway, "reg.test"}, "",
		},
		"certificates": {
			map[string]string{"/etc/containers/certs.d/reg.test/ca.crt": "x", "/etc/containers/certs.d/reg.test/me.cert": "x", "/etc/containers/certs.d/reg.test/me.key": "x", "/etc/docker/certs.d/reg.test/other.crt": "x"},
			[]string{gateway, "reg.test"},
			"server = \"https://reg.test\"\nca = [\"/etc/containers/certs.d/reg.test/ca.crt\"]\nclient = [[\"/etc/containers/certs.d/reg.test/me.cert\", \"/etc/containers/certs.d/reg.test/me.key\"]]\n",
		},
		"Docker's certificates, of a mirror": {
			map[string]string{"/etc/docker/certs.d/one.test/a.crt": "x", otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
			[]string{gateway, "one.test", "reg.test"},
			"\n[host.\"https://one.test\"]\n  ca = [\"/etc/docker/certs.d/one.test/a.crt\"]\n",
		},
		"others": {
			map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test:5000\"\n[[registry.mirror]]\nlocation = \"one.test\"\n[[registry]]\nlocation = \"reg.test.evil\"\n[[registry.mirror]]\nlocation = \"one.test\"\n[[registry]]\nlocation = \"reg.test/team\"\n"},
			[]string{gateway, "reg.test"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newMachine(t, test.files)
			before := n.Tree()
			n.Must(n.install(forContainers("reg.test")))
			if got := n.mirrors("reg.test"); !slices.Equal(got, test.mirrors) {
				t.Errorf("mirrors %q, want %q", got, test.mirrors)
			}
			if got := n.upstream("reg.test"); got != test.upstream {
				t.Errorf("upstream\n%s\nwant\n%s", got, test.upstream)
			}
			installed := n.Tree()
			n.Must(n.renew())
			n.WantTree(installed)
			n.Must(n.uninstall())
			n.WantTree(before)
		})
	}
}

// TestContainersNotes: what is left as it is, is said.
func TestContainersNotes(t *testing.T) {
	n := newMachine(t, map[string]string{otherDropIn: "[[registry]]\nlocation = \"blocked.test\"\nblocked = true\n[[registry]]\nlocation = \"reg.test/team\"\n"})
	i := n.open()
	defer i.close()
	p, err := i.planContainers(forContainers("reg.test", "blocked.test", "[::1]:5000", "docker.io"))
	n.Must(err)
	if len(p.tables) != 2 || len(p.notes) != 3 {
		t.Errorf("%+v", p)
	}
	for at, want := range []string{otherDropIn + " has a table for reg.test/team: pulls below that do not go", "blocked.test is blocked in " + otherDropIn, "[::1]:5000 cannot be in a path"} {
		if !strings.Contains(p.notes[at], want) {
			t.Errorf("%q, want %q", p.notes[at], want)
		}
	}
}

// TestContainersPrefixes: the table of each registry is its own, whatever name the other's begins with.
func TestContainersPrefixes(t *testing.T) {
	n := newMachine(t, nil)
	n.Must(n.install(forContainers("reg.test", "reg.test:5000", "reg.test.other", "docker.io")))
	for registry, want := range map[string]string{
		"reg.test": "127.0.0.1:7117/reg.test", "reg.test:5000": "127.0.0.1:7117/reg.test_5000",
		"reg.test.other": "127.0.0.1:7117/reg.test.other", "docker.io": "127.0.0.1:7117/docker.io",
	} {
		if got := n.mirrors(registry); !slices.Equal(got, []string{want, registry}) {
			t.Errorf("%s: %q", registry, got)
		}
	}
}

// TestContainersRefuse: what cannot be taken over is an error that names the file, before anything is written.
func TestContainersRefuse(t *testing.T) {
	const table = "[[registry]]\nlocation = \"reg.test\"\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  string
		spoil func(n *machine)
	}{
		"no TOML":            {map[string]string{otherDropIn: "[["}, otherDropIn + ":1:", nil},
		"not podman's":       {map[string]string{registriesConf: "[[registry]]\nprefix = \"a\"\n"}, registriesConf + ": ", nil},
		"version 1":          {map[string]string{registriesConf: "[registries.block]\nregistries = []\n"}, registriesConf + ": has tables of version 1", nil},
		"a bad location":     {map[string]string{otherDropIn: "[[registry]]\nprefix = \"reg.test\"\nlocation = \"No\\u001b\"\n"}, otherDropIn + ": location ", nil},
		"the gateway itself": {map[string]string{otherDropIn: "[[registry]]\nprefix = \"reg.test\"\nlocation = \"localhost:7117/reg.test\"\n"}, otherDropIn + ": location of reg.test is the gateway itself", nil},
		"a later file":       {map[string]string{"/etc/containers/registries.conf.d/zzzz.conf": table}, "/etc/containers/registries.conf.d/zzzz.conf: ", nil},
		"a directory":        {map[string]string{otherDropIn + "/notes": ""}, otherDropIn + ": is not a regular file", nil},
		"tables of two files that cannot be in one": {map[string]string{
			registriesConf: "[[registry]]\nprefix = \"reg.test\"\nlocation = \"shared.test\"\ninsecure = true\n",
			otherDropIn:    "[[registry]]\nprefix = \"other.test\"\nlocation = \"shared.test\"\n",
		}, containersDropIn + `: [[registry]] "reg.test" and "other.test": only one of them is insecure`, nil},
		"our name": {map[string]string{containersDropIn: "# mine\n"}, containersDropIn + ": is not of this installation", nil},
		"a link": {nil, otherDropIn + ": is not a regular file", func(n *machine) {
			n.Put(map[string]string{"/etc/containers/registries.conf.d/.keep": "", "/etc/other.conf": table})
			n.Must(os.Symlink("../../other.conf", n.Path(otherDropIn)))
		}},
		"everybody's": {map[string]string{otherDropIn: table}, "chmod go-w", func(n *machine) { n.Must(os.Chmod(n.Path(otherDropIn), 0o666)) }},
		"a link for a key": {nil, gatewaysCerts + "/client.key: is not a regular file", func(n *machine) {
			n.Put(map[string]string{gatewaysCerts + "/ca.crt": ""})
			n.Must(os.Symlink("/etc/shadow", n.Path(gatewaysCerts+"/client.key")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newMachine(t, test.files)
			if test.spoil != nil {
				test.spoil(n)
			}
			before := n.Tree()
			if err := n.install(forContainers("reg.test", "other.test")); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%v, want %q", err, test.want)
			}
			n.WantTree(before)
		})
	}
}

// TestContainersFollow: what an administrator changes later is taken over by the next renewal, and found until then.
func TestContainersFollow(t *testing.T) {
	n := newMachine(t, map[string]string{registriesConf: "# mine\n"})
	n.Must(n.install(forContainers("reg.test")))
	check := func(want ...string) {
		t.Helper()
		changed, err := CheckContainers(n.Root)
		n.Must(err)
		if !slices.Equal(changed, want) {
			t.Errorf("changed %q, want %q", changed, want)
		}
	}
	check()
	n.Put(map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"})
	check(filepath.Join(config.Default().Gateway.HostsDir, "reg.test/hosts.toml"), containersDropIn)
	n.Must(n.renew())
	check()
	if got := n.mirrors("reg.test"); !slices.Equal(got, []string{"127.0.0.1:7117/reg.test", "one.test", "reg.test"}) {
		t.Errorf("mirrors %q", got)
	}
	n.Must(os.Remove(n.Path(otherDropIn)))
	n.Must(n.renew())
	if got, upstream := n.mirrors("reg.test"), n.upstream("reg.test"); !slices.Equal(got, []string{"127.0.0.1:7117/reg.test", "reg.test"}) || upstream != "" {
		t.Errorf("mirrors %q, upstream %s", got, upstream)
	}
	check()
}

// TestContainersFollowNoOtherFile: an edit of the gateway's own table in a hosts.toml changes nothing that follows from files of podman's.
func TestContainersFollowNoOtherFile(t *testing.T) {
	hosts := filepath.Join(config.ContainerdCerts, "reg.test/hosts.toml")
	n := newMachine(t, map[string]string{hosts: "server = \"https://reg.test\"\n\n[host.\"https://one.test\"]\n  capabilities = [\"pull\"]\n"})
	o := forContainers("reg.test")
	o.For, o.ContainerdCerts = append(o.For, Containerd), Directories{config.ContainerdCerts}
	n.Must(n.install(o))
	n.Edit(hosts, "  client =", "  dial_timeout = \"5s\"\n  client =")
	changed, err := CheckContainers(n.Root)
	if n.Must(err); changed != nil {
		t.Errorf("changed %q", changed)
	}
}

// TestContainersEdited: an edit of the drop-in stays, and certificates are renewed nevertheless; uninstall leaves it.
func TestContainersEdited(t *testing.T) {
	n := newMachine(t, nil)
	n.now = n.now.Add(-300 * 24 * time.Hour)
	n.Must(n.install(forContainers("reg.test")))
	n.now = time.Now()
	const line = "# mine\n"
	n.Put(map[string]string{containersDropIn: string(n.Read(containersDropIn)) + line})
	key := n.Read(gatewaysCerts + "/client.key")
	n.Must(n.renew())
	if bytes.Equal(n.Read(gatewaysCerts+"/client.key"), key) || !bytes.HasSuffix(n.Read(containersDropIn), []byte(line)) {
		t.Errorf("%s", n.Read(containersDropIn))
	}
	n.Must(n.uninstall())
	n.Read(containersDropIn)
}

// TestContainersBeside: one client more, or less certificates of the same, takes nothing away from another.
func TestContainersBeside(t *testing.T) {
	n := newMachine(t, nil)
	before := n.Tree()
	o := installOn("reg.test")
	o.For = []string{Containerd, Containers}
	n.Must(n.install(o))
	hosts := filepath.Join(config.ContainerdCerts, "reg.test")
	certificate, key := n.Read(gatewaysCerts+"/client.cert"), n.Read(gatewaysCerts+"/client.key")
	if text := string(n.Read(filepath.Join(hosts, "hosts.toml"))); !strings.Contains(text, "127.0.0.1:7117") {
		t.Errorf("containerd's: %s", text)
	}
	if bytes.Contains(certificate, []byte("PRIVATE")) || !bytes.Contains(key, []byte("PRIVATE KEY")) {
		t.Errorf("certificate and key are not apart")
	}
	info, err := os.Stat(n.Path(gatewaysCerts + "/client.key"))
	n.Must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %s", info.Mode())
	}
	n.Must(n.renew())
	if !bytes.Equal(n.Read(gatewaysCerts+"/client.key"), key) {
		t.Error("renewed too early")
	}
	o.Address = "127.0.0.1:7200"
	n.Must(n.install(o))
	if _, err := os.Stat(n.Path(gatewaysCerts)); !os.IsNotExist(err) {
		t.Errorf("the earlier address: %v", err)
	}
	n.Must(n.uninstall())
	n.WantTree(before)
}

// TestContainersGroup: a group that is named may read the key, and nobody else; it is remembered, and can be changed.
func TestContainersGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files to groups")
	}
	n := newMachine(t, map[string]string{"/etc/group": "root:x:0:\npullers:x:4321:me\n"})
	check := func(gid int) {
		t.Helper()
		info, err := os.Stat(n.Path(gatewaysCerts + "/client.key"))
		n.Must(err)
		if _, got := ownerOf(info); got != gid || info.Mode().Perm() != 0o640 {
			t.Errorf("group %d, mode %s", got, info.Mode())
		}
	}
	o := forContainers("reg.test")
	for _, bad := range []string{"none", "-1", "pullers:x"} {
		o.AllowGroup = bad
		if err := n.install(o); err == nil || !strings.Contains(err.Error(), "allow-group") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	o.AllowGroup = "pullers"
	n.Must(n.install(o))
	check(4321)
	n.Must(n.renew())
	check(4321)
	o.AllowGroup = ""
	n.Must(n.install(o))
	check(4321)
	o.AllowGroup = "4322"
	n.Must(n.install(o))
	check(4322)
	o = installOn("reg.test")
	o.AllowGroup = "pullers"
	if err := newMachine(t, nil).install(o); err == nil || !strings.Contains(err.Error(), "add --for containers") {
		t.Errorf("without podman: %v", err)
	}
}

// intactContainers fails when podman could not read a file, or when the gateway and podman would not know each other. While
// the pair is replaced, certificate and key do not match for a moment, and podman asks the registry.
func (n *machine) intactContainers() {
	n.T.Helper()
	for _, table := range n.tables() {
		if len(table.Mirrors) == 0 || table.File != containersDropIn {
			continue
		}
		dir := filepath.Join(containersCerts, table.Mirrors[0].Host())
		ca, certificate, key := n.Read(dir+"/ca.crt"), n.Read(dir+"/client.cert"), n.Read(dir+"/client.key")
		server, err := os.ReadFile(n.Path(gatewayPEM))
		if _, mismatch := tls.X509KeyPair(certificate, key); mismatch != nil || err != nil {
			continue
		}
		pair, err := tls.X509KeyPair(server, server)
		n.Must(err)
		address := net.JoinHostPort(pair.Leaf.IPAddresses[0].String(), "1") // while it changes, the gateway is still at the old one
		n.Must(config.Certificates{CA: ca, Gateway: server, Client: append(certificate, key...)}.Check(address, n.now))
	}
}
