// Package node installs the gateway on a node for the programs that pull there,
// its clients, renews its certificates, and uninstalls it. An administrator's files are kept: where
// the gateway has to go into one, the original is recorded and restored, and a
// file that was edited since is left alone.
//
// Read the files in this order:
//
//   - options.go: [Options], what to install; clients.go: for which programs;
//   - install.go: [Install] and [Repeat]; stay.go: [Stay]; uninstall.go:
//     [Uninstall];
//   - plan.go: the plan, all files of an installation in the order in which
//     they may be written; its parts are in hosts.go, certificates.go,
//     configuration.go, units.go, docker.go, buildkit.go, containers.go and
//     containersupstream.go;
//   - apply.go: how the disk is changed to match the plan, one step at a time,
//     so that containerd can go on pulling wherever that is interrupted;
//   - report.go: what is said of all that;
//   - record.go: the [Record] of our files and of what was there before;
//   - disk.go: the disk, on which nothing is read or written where others than
//     root decide.
//
// Everything works on this machine and in the directory of an image, its root;
// the root of this machine is "". Paths are those of the node. A second
// installer on the same root, in this process or another one, is refused.
// Package trust decides which files are safe; package doctor checks the result.
package node

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
)

// Changes are the changes of a disk, by the paths of files and directories.
type Changes struct {
	Wrote, Removed, Restored []string
	// Left are files that have been edited since they were installed, each as
	// "path: why; next step".
	Left []string
}

// Paths lists what changed.
func (c *Changes) Paths() []string { return slices.Concat(c.Wrote, c.Removed, c.Restored) }

// installed is the state of a disk: its record says what is installed.
type installed struct {
	disk   *disk
	record *Record
}

// open opens a disk with its record, and locks it against other installers.
// certs are the directories of containerd that will be installed to, in
// addition to the recorded ones.
func open(root string, certs []string) (installed, error) {
	d, err := openDisk(root)
	if err != nil {
		return installed{}, err
	}
	d.follow(filepath.Dir(recordPath), UnitDir, config.Default().Gateway.StateDir, config.ContainerdCerts, registriesconf.Dir)
	for _, c := range clients() {
		if c.hosts != "" {
			d.follow(c.hosts)
		}
	}
	d.follow(certs...)
	r, err := lockAndLoad(d)
	if err != nil {
		return installed{}, errors.Join(err, d.close())
	}
	return installed{d, r}, nil
}

func lockAndLoad(d *disk) (*Record, error) {
	if err := d.ownRoot(); err != nil {
		return nil, err
	}
	if err := d.lock(); err != nil {
		return nil, err
	}
	r, err := loadRecord(d)
	if err != nil {
		return nil, err
	}
	d.follow(r.Options.HostsDirs()...)
	for _, e := range r.Files { // before anything is changed
		if _, err := d.read(e.Path); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// ErrNotInstalled says that there is no installation.
var ErrNotInstalled = errors.New("nothing is installed")

// openInstalled is open for an existing installation.
func openInstalled(root string) (installed, error) {
	i, err := open(root, nil)
	if err != nil {
		return installed{}, err
	}
	if len(i.record.Files) == 0 {
		i.close()
		return installed{}, ErrNotInstalled
	}
	return i, nil
}

func (i installed) close() { _ = i.disk.close() }

// data returns the bytes of a file that is as we wrote it, otherwise nil.
func (i installed) data(path string) ([]byte, error) {
	c, err := i.disk.read(path)
	if err != nil || c == nil {
		return nil, err
	}
	if e, ok := i.record.entry(path); !ok || !e.ours(c) {
		return nil, nil
	}
	return c.Data, nil
}

// keep plans a recorded file as it is, or nothing when it does not exist.
func (i installed) keep(path string) ([]file, error) {
	if _, ok := i.record.entry(path); !ok {
		return nil, nil
	}
	c, err := i.disk.read(path)
	if err != nil || c == nil {
		return nil, err
	}
	return []file{{path: path, contents: *c, edited: c}}, nil
}

// isEdited reports whether a hosts.toml of ours has been changed in a way that
// kept our marker and our certificates.
func (i installed) isEdited(path string, current *contents) bool {
	e, ok := i.record.entry(path)
	return ok && current != nil && !e.ours(current) && !e.untouched(current) &&
		config.HasMarker(current.Data) && i.record.namesOurs(current)
}

// hasUnits reports whether units are installed.
func (i installed) hasUnits() bool {
	_, ok := i.record.entry(filepath.Join(UnitDir, unitNames()[0]))
	return ok
}
