package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// file is a file that an installation wants.
type file struct {
	path string
	contents
	// edited is what somebody has made of the file since we wrote it, or nil.
	// What is wanted keeps that change, and uninstall is to leave the file alone.
	edited *contents
	// replaced says that somebody has put a file without our mark in the place
	// of ours, which therefore is what was there before us.
	replaced bool
}

// changes are what was done, and what was not.
type changes struct {
	wrote, removed, restored []string
	left                     []string // edited since, each with what to do
}

// installer brings a disk to what is wanted.
type installer struct {
	disk   *disk
	record *journal
	done   changes
}

// apply makes the files wanted those that are installed, in their order: what
// is not there is written, what was installed and is no longer wanted is taken
// back.
func (i *installer) apply(options installOptions, wanted []file) error {
	next := &journal{About: i.record.About, Version: i.record.Version, Options: options, Dirs: i.record.Dirs}
	var write []file
	for _, f := range wanted {
		current, err := i.disk.read(f.path)
		if err != nil {
			return err
		}
		e, err := i.expect(f, current)
		if err != nil {
			return err
		}
		dirs, err := i.disk.missing(f.path)
		if err != nil {
			return err
		}
		if slices.Contains(dirs, filepath.Dir(f.path)) {
			e.Original = nil // somebody has removed all of it, as k3s does, and what was there before is not to come back
		}
		next.Files = append(next.Files, e)
		if current == nil || !bytes.Equal(current.Data, f.Data) || current.Mode != f.Mode {
			write = append(write, f)
		}
		next.Dirs = appendNew(next.Dirs, dirs)
	}
	dropped := i.record.without(next)
	next.Files = append(slices.Clone(dropped), next.Files...)
	i.record = next
	err := i.change(write)
	if err == nil {
		err = i.drop(dropped)
	}
	if err != nil {
		return fmt.Errorf("%w; run the same command again, or nestctl uninstall", err)
	}
	return nil
}

// without lists the entries that are not in another record.
func (r *journal) without(other *journal) []entry {
	var all []entry
	for _, e := range r.Files {
		if _, ok := other.entry(e.Path); !ok {
			all = append(all, e)
		}
	}
	return all
}

// expect returns the entry for a file that is about to be written.
func (i *installer) expect(f file, current *contents) (entry, error) {
	e, ok := i.record.entry(f.path)
	switch {
	case !ok, f.replaced:
		return entry{Path: f.path, SHA256: hashOf(f.Data), Original: current}, nil
	case f.edited != nil && (current == nil || !bytes.Equal(current.Data, f.edited.Data)):
		return entry{}, fmt.Errorf("%s: was changed just now; run this again", f.path)
	case f.edited != nil:
		return e, nil
	case current != nil && !e.ours(current) && !e.untouched(current) && !bytes.Equal(current.Data, f.Data):
		return entry{}, fmt.Errorf("%s: was edited since it was installed; move it away and run this again", f.path)
	}
	if hash := hashOf(f.Data); e.SHA256 != hash {
		e.Earlier = appendNew(e.Earlier, []string{e.SHA256})
		e.SHA256 = hash
	}
	return e, nil
}

// change writes the record, then the files.
func (i *installer) change(write []file) error {
	dirs, err := i.disk.missing(journalPath)
	if err != nil {
		return err
	}
	// An empty directory of the record's is ours, whoever made it: an
	// interrupted installation may have.
	i.record.Dirs = appendNew(appendNew(dirs, []string{filepath.Dir(journalPath)}), i.record.Dirs)
	slices.Sort(i.record.Dirs) // the outermost first, also when it went after those in it
	if err := i.mkdirs(dirs); err != nil {
		return err
	}
	if err := i.record.save(i.disk); err != nil {
		return err
	}
	if err := i.mkdirs(i.record.Dirs); err != nil {
		return err
	}
	for _, f := range write {
		if err := i.disk.write(f.path, f.contents); err != nil {
			return err
		}
		i.done.wrote = append(i.done.wrote, f.path)
	}
	return nil
}

func (i *installer) mkdirs(dirs []string) error {
	for _, dir := range dirs {
		there, err := i.disk.isDir(dir)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		mode := os.FileMode(0o755)
		if dir == tlsDir {
			mode = 0o700
		}
		if err := i.disk.mkdir(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// drop takes entries back, the last first, and finishes the record.
func (i *installer) drop(dropped []entry) error {
	var left []entry
	for _, e := range slices.Backward(dropped) {
		stays, err := i.takeBack(e, left)
		if err != nil {
			return err
		}
		if stays {
			left = append(left, e)
		}
	}
	i.record.Files = slices.DeleteFunc(i.record.Files, func(e entry) bool {
		isDropped := slices.ContainsFunc(dropped, func(d entry) bool { return d.Path == e.Path })
		return isDropped && !slices.ContainsFunc(left, func(l entry) bool { return l.Path == e.Path })
	})
	for n := range i.record.Files {
		i.record.Files[n].Earlier = nil
	}
	for _, dir := range slices.Backward(i.record.Dirs) {
		if i.unused(dir) {
			if err := i.removeDir(dir); err != nil {
				return err
			}
		}
	}
	return i.finish()
}

// finish writes the final record, or removes it when nothing is installed.
func (i *installer) finish() error {
	if len(i.record.Files) > 0 {
		kept := i.record.Dirs[:0:0]
		for _, dir := range i.record.Dirs {
			if there, err := i.disk.isDir(dir); err == nil && there {
				kept = append(kept, dir)
			}
		}
		i.record.Dirs = kept
		return i.record.save(i.disk)
	}
	rest := slices.Clone(i.record.Dirs)
	slices.Reverse(rest)
	for _, path := range []string{temporary(journalPath), journalPath} {
		if err := i.disk.remove(path); err != nil {
			return err
		}
	}
	for _, dir := range append([]string{filepath.Dir(journalPath)}, rest...) {
		if err := i.removeDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeDir removes a directory of the record that is empty; a file in its
// place is not ours.
func (i *installer) removeDir(dir string) error {
	if there, err := i.disk.isDir(dir); err != nil || !there {
		return err
	}
	return i.disk.remove(dir)
}

// unused tells whether no file of the record is below a directory.
func (i *installer) unused(dir string) bool {
	return !strings.HasPrefix(journalPath, dir+"/") && !slices.ContainsFunc(i.record.Files, func(e entry) bool {
		return strings.HasPrefix(e.Path, dir+"/")
	})
}

// takeBack restores what was there before a file of ours. It stays when
// somebody has changed it, or when a file that stays names it.
func (i *installer) takeBack(e entry, left []entry) (stays bool, err error) {
	if err = i.disk.remove(temporary(e.Path)); err != nil {
		return false, err
	}
	current, err := i.disk.read(e.Path)
	switch {
	case err != nil:
		return false, err
	case e.untouched(current):
		return false, nil
	case !e.ours(current) && e.Original != nil && !i.namesOurs(current):
		return false, nil // somebody has taken the gateway out, and the rest is theirs
	case !e.ours(current):
		i.done.left = append(i.done.left, e.Path+": was edited since it was installed; "+afterEdit(e))
		return true, nil
	case i.named(e.Path, left):
		return true, nil
	case e.Original == nil:
		i.done.removed = append(i.done.removed, e.Path)
		return false, i.disk.remove(e.Path)
	}
	i.done.restored = append(i.done.restored, e.Path)
	return false, i.disk.write(e.Path, *e.before(current))
}

func afterEdit(e entry) string {
	if e.Original == nil {
		return "remove it when it is not needed, and run nestctl uninstall again"
	}
	return "take the gateway out of it by hand, or put back the bytes that " + journalPath + " keeps, and run nestctl uninstall again"
}

// namesOurs tells whether a file names certificates of ours.
func (i *installer) namesOurs(c *contents) bool {
	return c != nil && slices.ContainsFunc(i.record.Files, func(e entry) bool {
		name := filepath.Base(e.Path)
		ok, err := filepath.Match("nested-*.pem", name)
		return ok && err == nil && bytes.Contains(c.Data, []byte(`"`+name+`"`))
	})
}

// named tells whether a file that stays, in the same directory, names a file.
func (i *installer) named(path string, left []entry) bool {
	return slices.ContainsFunc(left, func(e entry) bool {
		c, err := i.disk.read(e.Path)
		return filepath.Dir(e.Path) == filepath.Dir(path) && err == nil && c != nil && bytes.Contains(c.Data, []byte(filepath.Base(path)))
	})
}

// appendNew appends what is not there yet.
func appendNew(list, more []string) []string {
	list = slices.Clone(list)
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
