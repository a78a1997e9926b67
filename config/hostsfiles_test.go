//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/gateway"
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
		"hosts/docker.test_5000_/ca.crt", "hosts/docker.test_5000_/me.cert", "hosts/docker.test_5000_/me.key", "hosts/_default/", "hosts/_default/hosts.toml")
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
	} {
		root := hostsTree(t)
		if err := os.Chmod(filepath.Join(root, test.path), test.mode); err != nil {
			t.Fatal(err)
		}
		err := CheckHosts("", filepath.Join(root, "hosts"), test.registry)
		if want := filepath.Join(root, test.path) + ": can be "; test.refused != (err != nil) || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s with mode %v, for %s: %v", test.path, test.mode, test.registry, err)
		}
		below := CheckHosts(root, "/hosts", test.registry)
		if strings.HasPrefix(test.path, "hosts") && (err == nil) != (below == nil) {
			t.Errorf("%s below a root: %v, %v", test.path, below, err)
		}
	}
	if err := CheckHosts("", filepath.Join(hostsTree(t), "none"), "reg.test"); err != nil {
		t.Errorf("without a directory: %v", err)
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
	trail, err := gateway.OpenTrail(filepath.Join(root, "state/trail.db"), gateway.TrailOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer trail.Close()
	g, err := c.NewGateway(trail, gateway.NewMemory(1<<20), gateway.NewMetrics(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Check(); err == nil || strings.Count(err.Error(), "registry reg.test: "+hosts+": can be written by") != 1 {
		t.Errorf("the gateway: %v", err)
	}
}

// TestState: a directory for the trail that others can write is refused, and
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
