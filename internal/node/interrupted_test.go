package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node/nodetest"
)

// random are the parts of an installation that are different each time.
var random = regexp.MustCompile(`(?s)-----BEGIN.*-----END [A-Z ]*-----\n|nested-[0-9a-f]{8}|"(sha256|data)": "[^"]*"`)

// alike is a tree without what is different in each installation, names and
// bytes of certificates, and without how often the record has something: an
// interrupted installation may leave certificates of an earlier one, as each
// renewal does.
func alike(tree map[string]string) map[string]string {
	all := map[string]string{}
	for path, text := range tree {
		text = random.ReplaceAllString(text, "…")
		if path == recordPath {
			text = strings.Join(slices.Compact(slices.Sorted(strings.Lines(text))), "")
		}
		all[random.ReplaceAllString(path, "nested-ID")] = text
	}
	return all
}

// scenes are the changes that are interrupted.
var scenes = []struct {
	name    string
	files   map[string]string
	prepare func(n *machine) // before the change
	change  func(n *machine) error
}{
	{name: "fresh", change: func(n *machine) error { return n.install(installOn("reg.test", "reg.test:5000")) }},
	{
		name: "admin",
		files: map[string]string{
			"/etc/containerd/certs.d/reg.test/hosts.toml":         "server = \"https://reg.test\"\n[host.\"https://mirror.test\"]\n  ca = \"ca.crt\"\n",
			"/etc/containerd/certs.d/reg.test/ca.crt":             "mine\n",
			"/etc/containerd/certs.d/other.test_5000_/client.key": "mine\n",
			"/etc/nested/notes.txt":                               "mine\n",
		},
		change: func(n *machine) error { return n.install(installOn("reg.test", "other.test:5000")) },
	},
	{
		name:    "other options",
		prepare: func(n *machine) { n.Must(n.install(installOn("reg.test", "gone.test"))) },
		change: func(n *machine) error {
			o := installOn("new.test", "reg.test")
			o.Mode, o.Address, o.NoSystemd = "pod", "127.0.0.2:7200", true
			return n.install(o)
		},
	},
	{
		name:  "renewal",
		files: map[string]string{"/etc/containerd/certs.d/reg.test/hosts.toml": "[host.\"https://mirror.test\"]\n"},
		prepare: func(n *machine) {
			n.now = n.now.Add(-300 * 24 * time.Hour)
			n.Must(n.install(installOn("reg.test", "other.test")))
			n.now = time.Now()
		},
		change: func(n *machine) error { return n.renew() },
	},
	{
		name:   "podman",
		files:  map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
		change: func(n *machine) error { return n.install(forContainers("reg.test", "reg.test:5000")) },
	},
	{
		name:  "podman's renewal, to other files",
		files: map[string]string{registriesConf: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
		prepare: func(n *machine) {
			theirs := string(n.Read(registriesConf))
			n.now = n.now.Add(-300 * 24 * time.Hour)
			n.Put(map[string]string{registriesConf: "# nothing\n"})
			n.Must(n.install(forContainers("reg.test")))
			n.now = time.Now()
			n.Put(map[string]string{registriesConf: theirs})
		},
		change: func(n *machine) error { return n.renew() },
	},
	{
		name: "another client",
		files: map[string]string{
			ofDocker:                           "server = \"https://mirror.test\"\n",
			DockerCerts + "/old.test/ca.crt":   "mine\n",
			DockerCerts + "/old.test/me.cert":  "mine\n",
			"/var/lib/rancher/k3s/agent/a.crt": "k3s\n",
		},
		prepare: func(n *machine) { n.Must(n.install(installOn("reg.test"))) },
		change: func(n *machine) error {
			o := installOn("reg.test", "old.test")
			o.For = []string{Docker, K3s}
			return n.install(o)
		},
	},
	{
		name: "renewal for buildkitd",
		prepare: func(n *machine) {
			n.now = n.now.Add(-300 * 24 * time.Hour)
			o := installOn("reg.test")
			o.For = []string{BuildKit}
			n.Must(n.install(o))
			n.now = time.Now()
		},
		change: func(n *machine) error { return n.renew() },
	},
	{
		name:   "three clients",
		files:  map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
		change: func(n *machine) error { return n.install(forThree("reg.test")) },
	},
	{
		name:    "podman, at another address, for other registries",
		files:   map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"one.test\"\n"},
		prepare: func(n *machine) { n.Must(n.install(forContainers("reg.test", "gone.test"))) },
		change: func(n *machine) error {
			o := forContainers("new.test", "reg.test")
			o.Address = "127.0.0.2:7200"
			return n.install(o)
		},
	},
	{
		name:    "uninstalled for three",
		files:   map[string]string{otherDropIn: "[[registry]]\nlocation = \"reg.test\"\n"},
		prepare: func(n *machine) { n.Must(n.install(forThree("reg.test"))) },
		change:  func(n *machine) error { return n.uninstall() },
	},
}

// forThree is an installation for clients of every kind: with hosts.toml, with registries.conf, with certificates alone.
func forThree(registries ...string) Options {
	o := installOn(registries...)
	o.For = []string{Containerd, Containers, BuildKit}
	return o
}

var errCut = errors.New("the power is cut")

// TestInterruptedChangeIsFinishedOrTakenBack cuts each change off before its n-th step. Whatever n is,
// containerd can go on pulling, uninstall brings back every byte, and the same
// command again ends as if nothing had been.
func TestInterruptedChangeIsFinishedOrTakenBack(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			t.Parallel()
			start := func() (*machine, map[string]string) {
				n := newMachine(t, scene.files)
				untouched := n.Tree()
				if scene.prepare != nil {
					scene.prepare(n)
				}
				n.before = func(string) error { n.intact(); return nil }
				return n, untouched
			}
			whole, untouched := start()
			whole.Must(scene.change(whole))
			whole.intact()
			want := whole.Tree()
			whole.Must(whole.uninstall())
			whole.WantTree(untouched)
			every := 1
			if testing.Short() {
				every = 8 // `make test-all` has them all
			}
			for at := 1; ; at += every {
				again, _ := start()
				again.cut(at)
				err := scene.change(again)
				if err == nil && at > 5 {
					return
				}
				if !errors.Is(err, errCut) {
					t.Fatalf("cut before change %d: %v", at, err)
				}
				back := on(&nodetest.Machine{T: t, Root: t.TempDir()})
				back.now = again.now
				back.Must(os.CopyFS(back.Root, os.DirFS(again.Root)))
				again.before = func(string) error { again.intact(); return nil }
				again.Must(scene.change(again))
				if d := nodetest.Diff(alike(again.Tree()), alike(want)); d != nil {
					t.Fatalf("cut before change %d, then done again:\n%s", at, strings.Join(d, "\n"))
				}
				for _, n := range []*machine{back, again} {
					n.Must(n.uninstall())
					n.WantTree(untouched)
				}
			}
		})
	}
}

// cut makes the n-th change fail, and all after it.
func (n *machine) cut(at int) {
	count := 0
	n.before = func(string) error {
		if count++; count < at {
			return nil
		}
		n.intact()
		return errCut
	}
}

func (n *machine) record() *Record {
	n.T.Helper()
	r, err := ReadRecord(n.Root)
	n.Must(err)
	return r
}

// intact fails when containerd could not load a hosts.toml, or when gateway
// and containerd, if the gateway has its files, would not know each other.
func (n *machine) intact() {
	n.T.Helper()
	n.intactContainers()
	var paths []string
	for _, certs := range []string{config.ContainerdCerts, DockerCerts, RancherDir(K3s) + "/certs.d"} {
		more, err := filepath.Glob(n.Path(certs + "/*/hosts.toml"))
		n.Must(err)
		paths = append(paths, more...)
	}
	n.buildKitIntact()
	wanted := n.record().Options.Registries
	for _, path := range paths {
		text, err := os.ReadFile(path)
		n.Must(err)
		hosts, err := config.ParseHosts(path, text)
		n.Must(err)
		name := filepath.Base(filepath.Dir(path))
		if len(hosts.Hosts) == 0 || !bytes.Contains(text, []byte(config.HostsMarker)) {
			continue
		}
		first := hosts.Hosts[0]
		ca, err := os.ReadFile(filepath.Join(filepath.Dir(path), first.CA[0]))
		n.Must(err)
		client, err := os.ReadFile(filepath.Join(filepath.Dir(path), first.Client[0][0]))
		n.Must(err)
		server, err := os.ReadFile(n.Path(gatewayPEM))
		if errors.Is(err, fs.ErrNotExist) || !slices.ContainsFunc(wanted, func(r string) bool { return slices.Contains(config.HostDirs(r), name) }) {
			continue // the gateway is down, or does not serve the registry
		}
		n.Must(err)
		// While the address changes, the gateway is still at the old one.
		pair, err := tls.X509KeyPair(server, server)
		n.Must(err)
		address := net.JoinHostPort(pair.Leaf.IPAddresses[0].String(), "1")
		for _, ca := range [][]byte{ca, n.Read(clientCAPEM)} {
			p := pairing{string(ca), string(server), string(client), address, n.now}
			if !n.fit[p] { // one check takes as long as many changes
				n.Must(config.Certificates{CA: ca, Gateway: server, Client: client}.Check(address, n.now))
				n.fit[p] = true
			}
		}
	}
}

// pairing are certificates that are to know each other, and where and when.
type pairing struct {
	ca, gateway, client, address string
	at                           time.Time
}
