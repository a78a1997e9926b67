//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

const mirrored = `ca = "server.crt"
[host."https://mirror.test"]
  ca = ["ROOT/certs/ca.pem"]
  client = [["me.cert", "me.key"], "both.pem"]
`

// hostsTree is a directory of hosts.toml files with all that they may name.
func hostsTree(t *testing.T) string {
	t.Helper()
	root := tree(t, "certs/", "certs/ca.pem", "hosts/", "hosts/reg.test/", "hosts/reg.test/hosts.toml", "hosts/reg.test/server.crt",
		"hosts/reg.test/me.cert", "hosts/reg.test/me.key", "hosts/reg.test/both.pem", "hosts/docker.test_5000_/",
		"hosts/docker.test_5000_/ca.crt", "hosts/docker.test_5000_/me.cert", "hosts/docker.test_5000_/me.key", "hosts/_default/", "hosts/_default/hosts.toml",
		"etc/", "etc/hosts.toml", "etc/ca.pem", "hosts/file.test/", "hosts/file.test/hosts.toml->../../etc/hosts.toml", "hosts/dir.test->ROOT/etc",
		"links/", "links/hosts->../hosts")
	write(t, filepath.Join(root, "etc/hosts.toml"), "ca = \"ca.pem\"\n")
	write(t, filepath.Join(root, "hosts/reg.test/hosts.toml"), strings.ReplaceAll(mirrored, "ROOT", root))
	write(t, filepath.Join(root, "hosts/_default/hosts.toml"), "")
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCheckHosts: whatever decides where a registry's requests go, and whom
// they are shown to.
func TestCheckHosts(t *testing.T) {
	for _, test := range []struct {
		path, registry string
		mode           os.FileMode
		refused        bool
	}{
		{"hosts", "reg.test", 0o755, false},
		{"hosts", "reg.test", 0o777, true},
		{"hosts", "reg.test", 0o775, true},
		{"hosts", "reg.test", 0o777 | os.ModeSticky, true}, // others could add reg.test_443_, or another registry
		{"hosts", "none.test", 0o777 | os.ModeSticky, true},
		{".", "reg.test", 0o777, true},
		{".", "reg.test", 0o777 | os.ModeSticky, false},
		{"hosts/reg.test", "reg.test", 0o777, true},
		{"hosts/reg.test", "reg.test", 0o777 | os.ModeSticky, true},
		{"hosts/reg.test", "other.test", 0o777, false}, // is not asked
		{"hosts/reg.test/hosts.toml", "reg.test", 0o666, true},
		{"hosts/reg.test/hosts.toml", "reg.test", 0o644, false},
		{"hosts/reg.test/server.crt", "reg.test", 0o666, true},
		{"hosts/reg.test/me.cert", "reg.test", 0o620, true},
		{"hosts/reg.test/me.key", "reg.test", 0o602, true},
		{"hosts/reg.test/both.pem", "reg.test", 0o602, true},
		{"certs/ca.pem", "reg.test", 0o666, true},
		{"certs", "reg.test", 0o777, true},
		{"hosts/docker.test_5000_", "docker.test:5000", 0o777, true},
		{"hosts/docker.test_5000_/ca.crt", "docker.test:5000", 0o666, true},
		{"hosts/docker.test_5000_/me.cert", "docker.test:5000", 0o666, true},
		{"hosts/docker.test_5000_/me.key", "docker.test:5000", 0o666, true},
		{"hosts/_default", "other.test", 0o777, true},
		{"hosts/_default/hosts.toml", "other.test", 0o666, true},
		{"hosts/_default/hosts.toml", "reg.test", 0o666, false},
		{"etc", "file.test", 0o777, true}, // the way that links lead counts
		{"etc/hosts.toml", "file.test", 0o666, true},
		{"etc", "dir.test", 0o777, true},
		{"etc/hosts.toml", "dir.test", 0o666, true},
		{"etc/ca.pem", "dir.test", 0o666, true},
		{"hosts/file.test", "file.test", 0o777, true}, // and where the link is
		{"etc", "reg.test", 0o777, false},
	} {
		root := hostsTree(t)
		if err := os.Chmod(filepath.Join(root, test.path), test.mode); err != nil {
			t.Fatal(err)
		}
		err := CheckHosts("", filepath.Join(root, "hosts"), test.registry)
		if want := filepath.Join(root, test.path) + ": can be "; test.refused != (err != nil) || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s with mode %v, for %s: %v", test.path, test.mode, test.registry, err)
		}
		linked := CheckHosts("", filepath.Join(root, "links/hosts"), test.registry)
		if (err == nil) != (linked == nil) {
			t.Errorf("%s through a link: %v, %v", test.path, linked, err)
		}
		below := CheckHosts(root, "/hosts", test.registry)
		if strings.HasPrefix(test.path, "hosts") && (err == nil) != (below == nil) {
			t.Errorf("%s below a root: %v, %v", test.path, below, err)
		}
	}
	root := hostsTree(t)
	if err := CheckHosts("", filepath.Join(root, "none"), "reg.test"); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	links := filepath.Join(root, "links")
	if err := os.Chmod(links, 0o777); err != nil {
		t.Fatal(err)
	}
	wantFileError(t, CheckHosts("", filepath.Join(links, "hosts"), "reg.test"), links+": can be written by its group or others; chmod go-w "+links)
}

// TestHostsQuoteNoSecrets: what is wrong with a hosts.toml is said without what
// may be a password in it.
func TestHostsQuoteNoSecrets(t *testing.T) {
	const number = "31415926535897932384626433832795"
	header := func(value string) string { return "[host.\"https://m.test\".header]\nauthorization = " + value + "\n" }
	for text, want := range map[string]string{
		header("hunter2"):                                          "x:2:17: toml: unexpected character",
		header("\"hunter2\" hunter2"):                              "x:2:27: toml: expected newline",
		header("\"hunter2\nhunter2\""):                             "x:2:25: toml: ",
		header("\"hunter2\\hunter2\""):                             "x:2:25: toml: ",
		header("[\"hunter2\", hunter2]"):                           "x:2:29: toml: ",
		header(number):                                             "x:2:17: toml: decimal number is too large",
		header("0x" + number):                                      "x:2:17: toml: ",
		header(number + ".5e9999"):                                 "x:2:17: toml: unable to parse float",
		"[host.\"https://m.test\"]\nheader = \"hunter2\"":          "x:2:10: toml: cannot decode",
		"[host.\"https://m.test\"]\ndial_timeout = [\"hunter2\"]":  "x:2:16: toml: cannot decode",
		"[host.\"https://u:hunter2@m.test\"]\nca = 7":              `x: host "https://m.test": ca: must be a file`,
		"[host.\"https://hunter2@u@m.test/a@b\"]\nclient = [7]":    `x: host "https://m.test/a@b": client: must be a file`,
		"[host]\n\"https://u:hunter2@m.test\" = \"hunter2\"":       "x:2:",
		strings.Repeat("[host.\"https://u:hunter2@m.test\"]\n", 2): "x:2:",
		"server = \"https://u:hunter2@m.test\"\nca = 7":            "x: server: ca: must be a file",
		"server = [\"hunter2\"]":                                   "x:1:10: toml: cannot decode",
	} {
		_, err := ParseHosts("x", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
			continue
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if s := err.Error(); strings.Contains(s, "hunter") || strings.Contains(s, "31415") {
				t.Errorf("%q: shows %s", text, s)
			}
		}
	}
}

// TestLeadsTo: what overlaps through links alone.
func TestLeadsTo(t *testing.T) {
	root := tree(t, "certs.d/", "certs.d/reg.test/", "own/", "to->certs.d", "into->ROOT/certs.d/reg.test", "all->.", "etc/", "etc/certs->../certs.d", "loop->loop")
	for _, test := range []struct{ dir, other, at string }{
		{"to", "certs.d", "certs.d"},
		{"into", "certs.d", "certs.d/reg.test"},
		{"to/reg.test", "certs.d", "certs.d/reg.test"},
		{"all", "certs.d", "."},             // above it
		{"certs.d", "etc/certs", "certs.d"}, // the other one is a link
		{"certs.d/reg.test", "to", "certs.d/reg.test"},
		{"all/later/certs.d", "later/certs.d", "later/certs.d"}, // that is made after us
		{"own", "certs.d", ""},
		{"own", "certs.d/reg.test", ""},
		{"certs.d", "certs.d", ""}, // by its name
		{"loop", "certs.d", ""},
		{"none", "certs.d", ""},
	} {
		at, leads := leadsTo(filepath.Join(root, test.dir), filepath.Join(root, test.other))
		if leads != (test.at != "") || leads && at != filepath.Join(root, test.at) {
			t.Errorf("%s to %s: %s, %t", test.dir, test.other, at, leads)
		}
	}
	_, path := configured(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	system := filepath.Join(root, "system")
	if err := os.Symlink("/", system); err != nil {
		t.Fatal(err)
	}
	write(t, path, regexp.MustCompile(`hosts_dir = .*`).ReplaceAllString(string(text), `hosts_dir = "`+system+`/etc/containerd/certs.d"`))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "gateway.hosts_dir leads to ") || !strings.Contains(err.Error(), "must be outside of containerd") {
		t.Errorf("into containerd's: %v", err)
	}
}

// configured is a configuration with its files.
func configured(t *testing.T) (root, path string) {
	root = hostsTree(t)
	for _, name := range []string{"pem", "ca", "state/"} {
		if strings.HasSuffix(name, "/") {
			if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, filepath.Join(root, name), "x")
	}
	path = filepath.Join(root, "c.toml")
	write(t, path, strings.ReplaceAll("[gateway]\nmode = \"pod\"\nregistries = [\"reg.test\", \"other.test\"]\n"+
		"certificate = \"ROOT/pem\"\nclient_ca = \"ROOT/ca\"\nhosts_dir = \"ROOT/hosts\"\nstate_dir = \"ROOT/state\"\n", "ROOT", root))
	return root, path
}

// TestHostsOfOthers: neither a configuration nor a gateway goes by a directory
// that others can write, at start or later.
func TestHostsOfOthers(t *testing.T) {
	root, path := configured(t)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(root, "hosts")
	if err = os.Chmod(hosts, 0o777); err != nil {
		t.Fatal(err)
	}
	want := "gateway.hosts_dir: " + hosts + " can be written by its group or others; chmod go-w " + hosts
	for name, load := range map[string]func(string) (*Config, error){"Load": Load, "LoadAndPrepare": LoadAndPrepare} {
		if _, err = load(path); err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	cache, err := locations.Open(filepath.Join(root, "state/trail.db"), locations.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	g, err := c.NewGateway(cache, find.NewMemory(1<<20), gateway.NewMetrics(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Check(); err == nil || strings.Count(err.Error(), "registry reg.test: "+hosts+": can be written by") != 1 {
		t.Errorf("the gateway: %v", err)
	}
}

// TestState: a directory for the location cache that others can write is refused, and
// an empty one, as Kubernetes makes them for pods, taken over.
func TestState(t *testing.T) {
	for _, test := range []struct {
		name              string
		mode              os.FileMode
		files             string
		checked, prepared bool
	}{
		{"ours", 0o700, "trail.db", true, true},
		{"everybody's", 0o777, "trail.db", false, false},
		{"everybody's and empty", 0o777, "", false, true},
		{"everybody's with sticky", 0o777 | os.ModeSticky, "", false, false},
		{"missing", 0, "", true, true},
	} {
		root, path := configured(t)
		state := filepath.Join(root, "state")
		err := os.Remove(state)
		if test.mode != 0 {
			err = errors.Join(err, os.Mkdir(state, 0o700), os.Chmod(state, test.mode))
		}
		if err != nil {
			t.Fatal(err)
		}
		if test.files != "" {
			write(t, filepath.Join(state, test.files), "x")
		}
		if _, err = Load(path); (err == nil) != test.checked || err != nil && !strings.Contains(err.Error(), "gateway.state_dir: "+state+" can be written") {
			t.Errorf("%s: checked: %v", test.name, err)
		}
		if _, err = LoadAndPrepare(path); (err == nil) != test.prepared {
			t.Errorf("%s: prepared: %v", test.name, err)
		}
		info, err := os.Stat(state)
		if err != nil {
			t.Fatal(err)
		}
		if private := info.Mode().Perm() == 0o700; private != test.prepared {
			t.Errorf("%s: has mode %v", test.name, info.Mode())
		}
	}
}

// TestStateElsewhere: through a way that others decide about nothing is taken
// over.
func TestStateElsewhere(t *testing.T) {
	root, path := configured(t)
	victim, shared := filepath.Join(root, "victim"), filepath.Join(root, "shared")
	if err := errors.Join(os.Remove(filepath.Join(root, "state")), os.Mkdir(victim, 0o777), os.Chmod(victim, 0o777), os.Mkdir(shared, 0o777),
		os.Chmod(shared, 0o777), os.Symlink("../victim", filepath.Join(shared, "link")), os.Symlink("shared/link", filepath.Join(root, "state"))); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAndPrepare(path); err == nil {
		t.Error("a link in everybody's directory is followed")
	}
	if info, err := os.Stat(victim); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the victim has mode %v, %v", info.Mode(), err)
	}
}
