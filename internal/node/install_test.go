package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node/nodetest"
)

// machine is a node on which a test installs at a time of its own, and may have
// changes fail.
type machine struct {
	*nodetest.Machine
	now    time.Time
	before func(change string) error // see disk
	flush  func(*os.File) error      // see disk
	fit    map[pairing]bool          // certificates that were checked
}

func newMachine(t *testing.T, files map[string]string) *machine {
	return on(nodetest.New(t, files))
}

// on is a machine with a disk that is there.
func on(m *nodetest.Machine) *machine {
	return &machine{
		Machine: m,
		now:     time.Now(),
		before:  func(string) error { return nil },
		flush:   func(*os.File) error { return nil },
		fit:     map[pairing]bool{},
	}
}

// open opens the node as the commands do.
func (n *machine) open(certs ...string) installed {
	n.T.Helper()
	i, err := open(n.Root, certs)
	n.Must(err)
	n.T.Cleanup(i.close)
	i.disk.before, i.disk.flush = n.before, n.flush
	return i
}

// installOn is what most tests install.
func installOn(registries ...string) Options {
	return Options{Mode: "node", Registries: registries, ContainerdCerts: Directories{config.ContainerdCerts}, Address: config.Default().Gateway.Address}
}

func (n *machine) install(o Options) error {
	n.T.Helper()
	w, err := o.parse()
	if err != nil {
		return err
	}
	i := n.open(w.ContainerdCerts...)
	defer i.close()
	p, err := i.plan(w, "/usr/bin/nestctl", n.now)
	if err == nil {
		_, err = i.apply(p)
	}
	return err
}

// renew installs once more as the service does it every day: units stay.
func (n *machine) renew() error {
	n.T.Helper()
	i := n.open()
	defer i.close()
	p, err := i.planRepeat("", n.now)
	if err == nil {
		_, err = i.apply(p)
	}
	return err
}

func (n *machine) uninstall() error {
	n.T.Helper()
	i := n.open()
	defer i.close()
	_, err := i.restoreAll()
	return err
}

// TestInstallChangesNothingElse looks at the tree outside of what install names.
func TestInstallChangesNothingElse(t *testing.T) {
	n := newMachine(t, nil)
	before := n.Tree()
	n.Must(n.install(installOn("reg.test")))
	ours := regexp.MustCompile(`^/etc/(nested|containerd/certs\.d/reg\.test)(/|$)|^/etc/systemd/system/nested-[a-z]+\.[a-z]+$`)
	for _, d := range nodetest.Diff(n.Tree(), before) {
		if path, ok := strings.CutPrefix(d, "+ "); !ok || !ours.MatchString(path) {
			t.Error(d)
		}
	}
}

// TestEachChangeIsFlushedBeforeTheNext: a file before it takes its place, and the directory of whatever changed: what comes
// after a change may stand on it.
func TestEachChangeIsFlushedBeforeTheNext(t *testing.T) {
	n := newMachine(t, nil)
	var changed, flushed string
	n.flush = func(f *os.File) error { flushed = f.Name(); return nil }
	n.before = func(change string) error {
		verb, path, _ := strings.Cut(strings.Replace(change, "rename to", "rename", 1), " ")
		if _, err := os.Stat(n.Path(path)); verb == "remove" && err != nil {
			t.Errorf("%s: %v", change, err)
		}
		if flushed != changed {
			t.Errorf("before %s was flushed %q, want %q", change, flushed, changed)
		}
		if changed, flushed = n.Path(path), ""; verb != "create" {
			changed = filepath.Dir(changed)
		}
		return nil
	}
	n.Must(n.install(installOn("reg.test")))
	n.Must(n.renew())
	n.Must(n.uninstall())
	if flushed != changed {
		t.Errorf("in the end was flushed %q, want %q", flushed, changed)
	}
}

// TestEditBetweenPlanAndChangeStays: what somebody writes between plan and change is not lost.
func TestEditBetweenPlanAndChangeStays(t *testing.T) {
	hosts := filepath.Join(config.ContainerdCerts, "reg.test/hosts.toml")
	for _, path := range []string{config.Path, hosts} {
		n := newMachine(t, nil)
		n.Must(n.install(installOn("reg.test")))
		edit := func(line string) { n.Put(map[string]string{path: string(n.Read(path)) + line}) }
		edit("# before\n")
		i := n.open()
		p, err := i.planRepeat("/usr/bin/nestctl", n.now)
		n.Must(err)
		edit("# meanwhile\n")
		_, err = i.apply(p)
		if err == nil || !strings.Contains(err.Error(), path+": has just been changed") {
			t.Errorf("%s: %v", path, err)
		}
		if text := n.Read(path); !strings.HasSuffix(string(text), "# before\n# meanwhile\n") {
			t.Errorf("%s is\n%s", path, text)
		}
	}
}

// TestFolderThatIsGoneIsInstalledAgain: when somebody has removed containerd's folder, what was
// installed in it is installed again, and uninstalled.
func TestFolderThatIsGoneIsInstalledAgain(t *testing.T) {
	n := newMachine(t, nil)
	n.Must(n.install(installOn("reg.test")))
	installed := alike(n.Tree())
	n.Must(os.RemoveAll(n.Path(config.ContainerdCerts)))
	n.Must(n.install(installOn("reg.test")))
	for _, d := range nodetest.Diff(alike(n.Tree()), installed) {
		if !strings.Contains(d, "/docker.io") && !strings.HasPrefix(d, "! "+recordPath) { // which has the folder now
			t.Error(d)
		}
	}
	n.Must(n.uninstall())
	if _, err := os.Stat(n.Path(config.ContainerdCerts)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestOneInstallerAtATime(t *testing.T) {
	n := newMachine(t, nil)
	n.Must(n.install(installOn("reg.test")))
	n.open()
	if _, err := open(n.Root, nil); err == nil || !strings.Contains(err.Error(), "another nestctl is at work here; wait for it to end") {
		t.Fatal(err)
	}
}

// TestUnitsOfEarlierVersionAreReplaced: units of an earlier version, with other flags, are
// brought up to date by the next installation without options. The service that
// renews leaves them as they are.
func TestUnitsOfEarlierVersionAreReplaced(t *testing.T) {
	const unit, earlier = UnitDir + "/nested-renew.service", "ExecStart=/usr/bin/nestctl install --debug\n"
	n := newMachine(t, nil)
	n.Must(n.install(installOn("reg.test")))
	now := string(n.Read(unit))
	n.Edit(unit, "ExecStart=/usr/bin/nestctl install\n", earlier)
	r := n.record()
	for i, e := range r.Files {
		if e.Path == unit {
			r.Files[i].SHA256 = hashOf(n.Read(unit))
		}
	}
	text, err := json.Marshal(r)
	n.Must(err)
	n.Must(os.WriteFile(n.Path(recordPath), text, 0o600))
	n.Must(n.renew())
	if text := string(n.Read(unit)); !strings.Contains(text, earlier) {
		t.Errorf("after a renewal it is\n%s", text)
	}
	i := n.open()
	p, err := i.planRepeat("/usr/bin/nestctl", n.now)
	n.Must(err)
	_, err = i.apply(p)
	n.Must(err)
	if text := string(n.Read(unit)); text != now {
		t.Errorf("after an installation it is\n%s", text)
	}
}
