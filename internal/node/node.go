// Package node installs the gateway on a node whose containerd is a stock one,
// renews what ends there, and takes everything back. An administrator's files
// stay: where the gateway has to go into one, what was there before is recorded
// and comes back, and what somebody has changed since is left alone.
//
// A reader meets: [Options], what an installation is for (options.go); [Install]
// and [Repeat] (install.go), and [Uninstall] (uninstall.go); the plan, all
// files of an installation in the order in which they may be written (plan.go;
// hosts.go, certificates.go, configuration.go and units.go have its parts); how
// a disk is brought to it, one step at a time, so that containerd can go on
// pulling wherever that is interrupted (apply.go); the [Record] of what is ours
// and what was there before (record.go); and the disk, on which nothing is read
// or written where others than root decide (disk.go).
//
// All of it works on this machine and on the directory of an image, which is
// named by its root; the root of this machine is "". Paths are always those that
// the node knows. What runs at the same time on one root, in this process or in
// another one, is refused.
package node

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
)

// Changes are what was done to a disk, by the paths of files and directories.
type Changes struct {
	Wrote, Removed, Restored []string
	// Left are files that somebody has edited since they were installed, each
	// as "path: why; next step".
	Left []string
}

// Paths lists what changed.
func (c *Changes) Paths() []string { return slices.Concat(c.Wrote, c.Removed, c.Restored) }

// installed is what is on a disk of an installation: what the record says.
type installed struct {
	disk   *disk
	record *Record
}

// open opens a disk with its record, and keeps other installers out until it is
// closed. The directories of containerd's are those that are about to be
// installed to, beside those that are recorded.
func open(root string, certs []string) (installed, error) {
	d, err := openDisk(root)
	if err != nil {
		return installed{}, err
	}
	d.follow(filepath.Dir(recordPath), UnitDir, config.Default().Gateway.StateDir, config.ContainerdCerts)
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
	d.follow(r.Options.ContainerdCerts...)
	for _, e := range r.Files { // before anything is changed
		if _, err := d.read(e.Path); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// ErrNotInstalled is the error about an installation that there is not.
var ErrNotInstalled = errors.New("nothing is installed")

// openInstalled is open for what is installed.
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

// data returns the bytes of a file that is as we have written it, otherwise nil.
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

// keep wants a recorded file as it is, or nothing when it is not there.
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

// isEdited reports whether somebody has changed a hosts.toml of ours and left
// our mark and our certificates in it.
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
