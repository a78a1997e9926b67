//go:build unix

package node

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node/nodetest"
)

// nobody is another user.
const nobody = 65533

// TestImageOfOthersIsRefused: in an image that others own or can write nothing is
// installed, renewed or taken back: they would have it done as root.
func TestImageOfOthersIsRefused(t *testing.T) {
	hosts := filepath.Join(config.ContainerdCerts, "reg.test/hosts.toml")
	chmod := func(path string, mode os.FileMode) func(n *machine) {
		return func(n *machine) { n.Must(os.Chmod(n.Path(path), mode)) }
	}
	give := func(path string) func(n *machine) {
		return func(n *machine) { n.Must(os.Lchown(n.Path(path), nobody, nobody)) }
	}
	for name, spoil := range map[string]func(n *machine){
		"the image is everybody's": chmod("/", 0o777),
		"/etc is another user's, in everybody's with sticky": func(n *machine) {
			n.Must(os.Chmod(n.Path("/"), 0o777|os.ModeSticky))
			give("/etc")(n)
		},
		"/etc is the group's":                   chmod("/etc", 0o775),
		"our directory is everybody's":          chmod("/etc/nested", 0o777),
		"the record is everybody's":             chmod(recordPath, 0o666),
		"the record is the group's":             chmod(recordPath, 0o660),
		"hosts.toml is everybody's":             chmod(hosts, 0o666),
		"hosts.toml's directory is everybody's": chmod(filepath.Dir(hosts), 0o777),
		"containerd's directory is everybody's": chmod(config.ContainerdCerts, 0o777),
		"before the image is everybody's": func(n *machine) {
			n.Must(os.Chmod(filepath.Dir(n.Root), 0o777))
		},
		"the image is another user's":     give("/"),
		"/etc is another user's":          give("/etc"),
		"our directory is another user's": give("/etc/nested"),
		"the record is another user's":    give(recordPath),
		"hosts.toml is another user's":    give(hosts),
		"before the image is another user's": func(n *machine) {
			n.Must(os.Chown(filepath.Dir(n.Root), nobody, nobody))
		},
		"a link to the record is another user's": func(n *machine) {
			n.Must(os.Rename(n.Path("/etc/nested"), n.Path("/etc/theirs")))
			n.Must(os.Symlink("theirs", n.Path("/etc/nested")))
			n.Must(os.Lchown(n.Path("/etc/nested"), nobody, nobody))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "another user's") && os.Geteuid() != 0 {
				return // only root can give files away
			}
			n := newMachine(t, map[string]string{hosts: "server = \"https://mirror.test\"\n"})
			n.Root = filepath.Join(n.Root, "image") // so that what is before it can be spoilt, too
			n.Put(map[string]string{hosts: "server = \"https://mirror.test\"\n"})
			n.Must(n.install(installOn("reg.test")))
			spoil(n)
			before := n.Tree()
			for command, run := range map[string]func() error{
				"install":   func() error { return n.tryInstall(installOn("reg.test", "other.test")) },
				"uninstall": n.tryUninstall,
			} {
				if err := run(); err == nil || !strings.Contains(err.Error(), "belongs to user 65533; chown ") && !strings.Contains(err.Error(), "by its group or others; chmod go-") {
					t.Errorf("%s: %v", command, err)
				}
			}
			n.WantTree(before)
		})
	}
}

// tryInstall is install, for machines that are not even opened.
func (n *machine) tryInstall(o Options) error {
	i, err := open(n.Root, o.ContainerdCerts)
	if err != nil {
		return err
	}
	i.close()
	return n.install(o)
}

func (n *machine) tryUninstall() error {
	i, err := open(n.Root, nil)
	if err != nil {
		return err
	}
	i.close()
	return n.uninstall()
}

// TestLinkOfOthersIsRefused: a link on this node by which others say where root writes.
func TestLinkOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	n := on(&nodetest.Machine{T: t})
	for _, name := range []string{"ours", "theirs", "certs"} {
		n.Must(os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	n.Must(os.Symlink("../certs", filepath.Join(dir, "ours/link")))
	n.Must(os.Symlink("../certs", filepath.Join(dir, "theirs/link")))
	n.Must(os.Chmod(filepath.Join(dir, "theirs"), 0o777))
	d, err := openDisk("")
	n.Must(err)
	defer d.close()
	d.follow(filepath.Join(dir, "ours/link"), filepath.Join(dir, "theirs/link"))
	for name, refused := range map[string]bool{"ours": false, "theirs": true} {
		path := filepath.Join(dir, name, "link/hosts.toml")
		if err := d.write(path, newContents([]byte("x"), 0o644)); (err != nil) != refused {
			t.Errorf("%s: written: %v", name, err)
		}
		if _, err := d.read(path); (err != nil) != refused {
			t.Errorf("%s: read: %v", name, err)
		}
	}
}

// TestProgramOfOthersIsRefused: root's services run no program that others could replace,
// or that services do not see.
func TestProgramOfOthersIsRefused(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "program") // services do not see /tmp, where this may be checked out
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "nestctl")
	if err = os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	const fix = "; install nestctl in a permanent directory that only root may write, such as /usr/local/bin, and run that"
	for _, everybodys := range []string{path, dir} {
		if err = os.Chmod(everybodys, 0o777); err != nil {
			t.Fatal(err)
		}
		if err = checkProgram(path); err == nil || !strings.HasPrefix(err.Error(), "the services would run ") || !strings.HasSuffix(err.Error(), fix) {
			t.Errorf("%s is everybody's: %v", everybodys, err)
		}
		if err = os.Chmod(everybodys, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, unseen := range []string{"/tmp/nestctl", "/var/tmp/nestctl"} {
		if err = checkProgram(unseen); err == nil || !strings.Contains(err.Error(), "the services cannot see "+filepath.Dir(unseen)) {
			t.Errorf("%s: %v", unseen, err)
		}
	}
	if err = checkProgram("/bin/sh"); err != nil {
		t.Error(err)
	}
}

// TestStickyImageIsInstalledInto: a fresh tmpfs is everybody's with the sticky bit, in which
// nobody takes away what is ours.
func TestStickyImageIsInstalledInto(t *testing.T) {
	n := on(&nodetest.Machine{T: t, Root: t.TempDir()})
	n.Must(os.Chmod(n.Root, 0o777|os.ModeSticky))
	n.Must(n.install(installOn("reg.test")))
	n.Must(n.uninstall())
}

// TestRecordOfWhatIsNotOursIsRefused: a record makes nobody write, remove or restore what
// no installation writes, nor give a file away or bits that are no permissions.
func TestRecordOfWhatIsNotOursIsRefused(t *testing.T) {
	hosts := filepath.Join(config.ContainerdCerts, "reg.test/hosts.toml")
	original := &contents{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	for name, spoil := range map[string]func(r *Record){
		"a program":          func(r *Record) { r.Files = append(r.Files, entry{Path: "/usr/bin/x", Original: original}) },
		"a cron job":         func(r *Record) { r.Files = append(r.Files, entry{Path: "/etc/cron.d/x", Original: original}) },
		"a unit":             func(r *Record) { r.Files = append(r.Files, entry{Path: UnitDir + "/x.service", Original: original}) },
		"a name beside ours": func(r *Record) { r.Files = append(r.Files, entry{Path: "/etc/nested/tls/x.pem"}) },
		"a way up": func(r *Record) {
			r.Files = append(r.Files, entry{Path: config.ContainerdCerts + "/reg.test/../../x/hosts.toml"})
		},
		"no registry's": func(r *Record) {
			r.Files = append(r.Files, entry{Path: config.ContainerdCerts + "/_default/hosts.toml"})
		},
		"elsewhere":    func(r *Record) { r.Files = append(r.Files, entry{Path: "/etc/other/reg.test/hosts.toml"}) },
		"relative":     func(r *Record) { r.Files = append(r.Files, entry{Path: strings.TrimPrefix(hosts, "/")}) },
		"its own name": func(r *Record) { r.Files = append(r.Files, entry{Path: recordPath}) },
		"setuid":       func(r *Record) { r.Files[0].Original = &contents{Mode: 0o755 | fs.ModeSetuid} },
		"setgid":       func(r *Record) { r.Files[0].Original = &contents{Mode: 0o755 | fs.ModeSetgid} },
		"bits of C":    func(r *Record) { r.Files[0].Original = &contents{Mode: 0o4755} },
		"a device":     func(r *Record) { r.Files[0].Original = &contents{Mode: 0o600 | fs.ModeDevice} },
		"a file as directory": func(r *Record) {
			r.Dirs = append(r.Dirs, "/etc/hostname")
		},
		"a directory of others": func(r *Record) { r.Dirs = append(r.Dirs, "/var/empty") },
		"a registry up":         func(r *Record) { r.Options.Registries = []string{"../../cron.d"} },
		"certs up":              func(r *Record) { r.Options.ContainerdCerts = Directories{"/etc/../x"} },
		"certs relative":        func(r *Record) { r.Options.ContainerdCerts = Directories{"x"} },
	} {
		t.Run(name, func(t *testing.T) {
			n := newMachine(t, nil)
			n.Must(n.install(installOn("reg.test")))
			r := n.record()
			spoil(r)
			text, err := json.Marshal(r)
			n.Must(err)
			n.Must(os.WriteFile(n.Path(recordPath), text, 0o600))
			before := n.Tree()
			for command, run := range map[string]func() error{"install": func() error { return n.tryInstall(installOn("reg.test")) }, "uninstall": n.tryUninstall} {
				if err := run(); err == nil || !strings.Contains(err.Error(), "; restore the file as nestctl wrote it, or remove what it installed by hand") {
					t.Errorf("%s: %v", command, err)
				}
			}
			n.WantTree(before)
		})
	}
}

// TestRestoredFileKeepsItsOwner: what comes back belongs to whoever what we wrote belongs
// to, and not to whom a record names.
func TestRestoredFileKeepsItsOwner(t *testing.T) {
	hosts := filepath.Join(config.ContainerdCerts, "reg.test/hosts.toml")
	n := newMachine(t, map[string]string{hosts: "server = \"https://mirror.test\"\n"})
	n.Must(n.install(installOn("reg.test")))
	r := n.record()
	for i := range r.Files {
		if r.Files[i].Original != nil {
			r.Files[i].Original.UID, r.Files[i].Original.GID = nobody, nobody
		}
	}
	text, err := json.Marshal(r)
	n.Must(err)
	n.Must(os.WriteFile(n.Path(recordPath), text, 0o600))
	n.Must(n.install(installOn("reg.test", "other.test")))
	n.Must(n.uninstall())
	info, err := os.Stat(n.Path(hosts))
	n.Must(err)
	if uid, gid := ownerOf(info); uid != os.Geteuid() || gid != os.Getegid() {
		t.Errorf("hosts.toml belongs to %d:%d", uid, gid)
	}
}

// TestFileInPlaceOfDirectoryStays: a directory of the record in whose place somebody has
// put a file stays.
func TestFileInPlaceOfDirectoryStays(t *testing.T) {
	n := newMachine(t, nil)
	n.Must(n.install(installOn("reg.test")))
	file := filepath.Join(config.ContainerdCerts, "gone.test")
	n.Put(map[string]string{file: "mine"})
	r := n.record()
	r.Dirs = append(r.Dirs, file)
	text, err := json.Marshal(r)
	n.Must(err)
	n.Must(os.WriteFile(n.Path(recordPath), text, 0o600))
	if err := n.uninstall(); err == nil || !strings.Contains(err.Error(), file+": is not a directory") {
		t.Errorf("%v", err)
	}
	n.Read(file)
}

// TestDockersDirectoryOfOthersIsRefused before anything is written, and so is a link out of the image.
func TestDockersDirectoryOfOthersIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(n *machine)
		want  string
	}{
		"everybody's": {func(n *machine) { n.Must(os.Chmod(n.Path(DockerCerts), 0o777)) }, "chmod go-"},
		"another user's": {func(n *machine) {
			if os.Geteuid() != 0 {
				n.T.Skip("only root can give files away")
			}
			n.Must(os.Lchown(n.Path(DockerCerts), nobody, nobody))
		}, "belongs to user 65533"},
		"a hosts.toml of everybody's": {func(n *machine) { n.Must(os.Chmod(n.Path(ofDocker), 0o666)) }, "chmod go-"},
		"a link out": {func(n *machine) {
			n.Must(os.RemoveAll(n.Path(DockerCerts)))
			n.Must(os.Symlink(n.T.TempDir(), n.Path(DockerCerts)))
		}, "leads out through a symbolic link"},
		"a file": {func(n *machine) {
			n.Must(os.RemoveAll(n.Path(DockerCerts)))
			n.Put(map[string]string{DockerCerts: "x"})
		}, "not a directory"},
		"a hosts.toml that does not parse": {func(n *machine) { n.Put(map[string]string{ofDocker: "[host"}) }, ofDocker + ":1:"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newMachine(t, map[string]string{ofDocker: "server = \"https://mirror.test\"\n"})
			test.spoil(n)
			before := n.Tree()
			o := Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{Containerd, Docker}}
			if _, err := Install(t.Context(), n.Root, o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
			n.WantTree(before)
		})
	}
}
