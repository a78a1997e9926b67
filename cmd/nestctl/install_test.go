package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
)

// machine is the root of an image in a test.
type machine struct {
	t      *testing.T
	root   string
	now    time.Time
	before func(change string) error // see disk
}

// newMachine makes one with what is on one, and files of a test.
func newMachine(t *testing.T, files map[string]string) *machine {
	n := &machine{t, t.TempDir(), time.Now(), func(string) error { return nil }}
	n.put(map[string]string{
		"/etc/hostname":                                   "node\n",
		"/etc/containerd/config.toml":                     "version = 3\n",
		"/etc/containerd/certs.d/docker.io/hosts.toml":    "server = \"https://mirror.test\"\n",
		"/etc/systemd/system/containerd.service.d/a.conf": "[Service]\n",
		"/root/.docker/config.json":                       "{}\n",
	})
	n.put(files)
	return n
}

func (n *machine) path(path string) string { return filepath.Join(n.root, path) }

func (n *machine) put(files map[string]string) {
	n.t.Helper()
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(n.path(path)), 0o755); err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(n.path(path), []byte(text), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *machine) read(path string) []byte {
	n.t.Helper()
	data, err := os.ReadFile(n.path(path))
	if err != nil {
		n.t.Fatal(err)
	}
	return data
}

// tree is every file and directory with its mode, and its bytes or target.
func (n *machine) tree() map[string]string {
	n.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(n.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += "\n" + string(data)
		}
		all[strings.TrimPrefix(path, n.root)] = text
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// installer opens the node as the commands do.
func (n *machine) installer(certs ...string) *planner {
	n.t.Helper()
	p, closeAll, err := openInstaller(n.root, certs, n.now)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(closeAll)
	p.disk.before = n.before
	return p
}

// installOn is what most tests install.
func installOn(registries ...string) installOptions {
	return installOptions{Mode: "node", Registries: registries, ContainerdCerts: directories{defaultHostsDir}, Address: config.Default().Gateway.Address}
}

func (n *machine) install(o installOptions) error {
	n.t.Helper()
	if err := o.check(); err != nil {
		return err
	}
	p := n.installer(o.ContainerdCerts...)
	defer p.disk.close()
	p.options, p.program, p.given = o, "/usr/bin/nestctl", func(string) bool { return true }
	wanted, err := p.plan()
	if err != nil {
		return err
	}
	return p.apply(p.options, wanted)
}

func (n *machine) renew() error {
	n.t.Helper()
	p := n.installer()
	defer p.disk.close()
	p.options = p.record.Options
	wanted, err := p.planRenewal()
	if err != nil || wanted == nil {
		return cmp.Or(err, errors.New("nothing to renew"))
	}
	return p.apply(p.options, wanted)
}

func (n *machine) uninstall() error {
	n.t.Helper()
	p := n.installer()
	defer p.disk.close()
	return p.drop(slices.Clone(p.record.Files))
}

func (n *machine) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// diff lists what differs between two trees.
func diff(got, want map[string]string) []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if text, ok := got[path]; !ok {
			all = append(all, "- "+path)
		} else if text != want[path] {
			all = append(all, fmt.Sprintf("! %s\n%s", path, lines(text, want[path])))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			all = append(all, "+ "+path)
		}
	}
	return all
}

// lines lists the lines that only one text has.
func lines(got, want string) string {
	var all strings.Builder
	for _, side := range [][3]string{{"-", want, got}, {"+", got, want}} {
		there := strings.Split(side[2], "\n")
		for _, line := range strings.Split(side[1], "\n") {
			if !slices.Contains(there, line) {
				fmt.Fprintln(&all, side[0], line)
			}
		}
	}
	return cmp.Or(all.String(), "other order:\n"+got+"\nwant\n"+want)
}

func (n *machine) wantTree(want map[string]string) {
	n.t.Helper()
	if d := diff(n.tree(), want); d != nil {
		n.t.Fatal(strings.Join(d, "\n"))
	}
}

// TestNothingElse looks at the tree outside of what install names.
func TestNothingElse(t *testing.T) {
	n := newMachine(t, nil)
	before := n.tree()
	n.must(n.install(installOn("reg.test")))
	ours := regexp.MustCompile(`^/etc/(nested|containerd/certs\.d/reg\.test)(/|$)|^/etc/systemd/system/nested-[a-z]+\.[a-z]+$`)
	for _, d := range diff(n.tree(), before) {
		if path, ok := strings.CutPrefix(d, "+ "); !ok || !ours.MatchString(path) {
			t.Error(d)
		}
	}
}

// TestEditedMeanwhile: what somebody writes between plan and change is not lost.
func TestEditedMeanwhile(t *testing.T) {
	hosts := filepath.Join(defaultHostsDir, "reg.test/hosts.toml")
	for _, path := range []string{config.Path, hosts} {
		n := newMachine(t, nil)
		n.must(n.install(installOn("reg.test")))
		edit := func(line string) { n.put(map[string]string{path: string(n.read(path)) + line}) }
		edit("# before\n")
		p := n.installer()
		p.options, p.again = p.record.Options, true
		wanted, err := p.plan()
		n.must(err)
		edit("# meanwhile\n")
		err = p.apply(p.options, wanted)
		if err == nil || !strings.Contains(err.Error(), path+": was changed just now") {
			t.Errorf("%s: %v", path, err)
		}
		if text := n.read(path); !strings.HasSuffix(string(text), "# before\n# meanwhile\n") {
			t.Errorf("%s is\n%s", path, text)
		}
	}
}

// TestFolderGone: when somebody has removed containerd's folder, what was
// installed in it is installed again, and uninstalled.
func TestFolderGone(t *testing.T) {
	n := newMachine(t, nil)
	n.must(n.install(installOn("reg.test")))
	installed := alike(n.tree())
	n.must(os.RemoveAll(n.path(defaultHostsDir)))
	n.must(n.install(installOn("reg.test")))
	for _, d := range diff(alike(n.tree()), installed) {
		if !strings.Contains(d, "/docker.io") && !strings.HasPrefix(d, "! "+journalPath) { // which has the folder now
			t.Error(d)
		}
	}
	n.must(n.uninstall())
	if _, err := os.Stat(n.path(defaultHostsDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestOneInstallerAtATime(t *testing.T) {
	n := newMachine(t, nil)
	n.must(n.install(installOn("reg.test")))
	n.installer()
	if _, _, err := openInstaller(n.root, nil, n.now); err == nil || !strings.Contains(err.Error(), "another nestctl works here; wait for it") {
		t.Fatal(err)
	}
}
