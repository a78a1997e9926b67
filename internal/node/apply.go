package node

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apply changes the files on the disk to those of a plan, in its order: missing
// ones are written, and installed ones that are no longer planned are restored
// to what was there before.
func (i installed) apply(p plan) (Changes, error) {
	next := &Record{About: i.record.About, Version: i.record.Version, Options: p.options, Dirs: i.record.Dirs}
	var write []file
	for _, f := range p.files {
		current, err := i.disk.read(f.path)
		if err != nil {
			return Changes{}, err
		}
		e, err := i.record.expect(f, current)
		if err != nil {
			return Changes{}, err
		}
		dirs, err := i.disk.missing(f.path)
		if err != nil {
			return Changes{}, err
		}
		if slices.Contains(dirs, filepath.Dir(f.path)) {
			e.Original = nil // k3s, for example, has removed everything; what was there before must not come back
		}
		next.Files = append(next.Files, e)
		if current == nil || !bytes.Equal(current.Data, f.Data) || current.Mode != f.Mode || current.GID != f.GID && f.Mode == 0o640 { // for its group
			write = append(write, f)
		}
		next.Dirs = appendNew(next.Dirs, dirs)
	}
	dropped := slices.DeleteFunc(i.record.without(next), func(e entry) bool {
		return slices.ContainsFunc(p.files, func(f file) bool { return i.sameFile(e.Path, f.path) })
	})
	next.Files = append(slices.Clone(dropped), next.Files...)
	w := writer{disk: i.disk, record: next}
	err := w.change(write)
	if err == nil {
		err = w.drop(dropped)
	}
	if err != nil {
		return w.done, fmt.Errorf("%w; run the same command again, or nestctl uninstall", err)
	}
	return w.done, nil
}

// expect returns the entry for a file that is about to be written.
func (r *Record) expect(f file, current *contents) (entry, error) {
	e, ok := r.entry(f.path)
	switch {
	case !ok, f.replaced:
		return entry{Path: f.path, SHA256: hashOf(f.Data), Original: current}, nil
	case f.edited != nil && (current == nil || !bytes.Equal(current.Data, f.edited.Data)):
		return entry{}, fmt.Errorf("%s: has just been changed; run this again", f.path)
	case f.edited != nil:
		return e, nil
	case current != nil && !e.ours(current) && !e.untouched(current) && !bytes.Equal(current.Data, f.Data):
		return entry{}, fmt.Errorf("%s: has been edited since it was installed; move it away and run this again", f.path)
	}
	if hash := hashOf(f.Data); e.SHA256 != hash {
		e.Earlier = appendNew(e.Earlier, []string{e.SHA256})
		e.SHA256 = hash
	}
	return e, nil
}

// writer changes a disk, after recording the change.
type writer struct {
	disk   *disk
	record *Record
	done   Changes
}

// change writes the record, then the files.
func (w *writer) change(write []file) error {
	dirs, err := w.disk.missing(recordPath)
	if err != nil {
		return err
	}
	// An empty directory of the record's is ours, whoever made it: an
	// interrupted installation may have.
	w.record.Dirs = appendNew(appendNew(dirs, []string{filepath.Dir(recordPath)}), w.record.Dirs)
	slices.Sort(w.record.Dirs) // the outermost first, also when it went after those in it
	if err := w.mkdirs(dirs); err != nil {
		return err
	}
	if err := w.record.save(w.disk); err != nil {
		return err
	}
	if err := w.mkdirs(w.record.Dirs); err != nil {
		return err
	}
	for _, f := range write {
		if err := w.disk.write(f.path, f.contents); err != nil {
			return err
		}
		w.done.Wrote = append(w.done.Wrote, f.path)
	}
	return nil
}

func (w *writer) mkdirs(dirs []string) error {
	for _, dir := range dirs {
		there, err := w.disk.isDir(dir)
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
		if err := w.disk.mkdir(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// drop restores the files of entries, the last first, and writes the final
// record.
func (w *writer) drop(dropped []entry) error {
	var left []entry
	for _, e := range slices.Backward(dropped) {
		stays, err := w.restore(e, left)
		if err != nil {
			return err
		}
		if stays {
			left = append(left, e)
		}
	}
	w.record.Files = slices.DeleteFunc(w.record.Files, func(e entry) bool {
		isDropped := slices.ContainsFunc(dropped, func(d entry) bool { return d.Path == e.Path })
		return isDropped && !slices.ContainsFunc(left, func(l entry) bool { return l.Path == e.Path })
	})
	for n := range w.record.Files {
		w.record.Files[n].Earlier = nil
	}
	for _, dir := range slices.Backward(w.record.Dirs) {
		if w.unused(dir) {
			if err := w.removeDir(dir); err != nil {
				return err
			}
		}
	}
	return w.finish()
}

// finish writes the final record, or removes it when nothing is installed.
func (w *writer) finish() error {
	if len(w.record.Files) > 0 {
		kept := w.record.Dirs[:0:0]
		for _, dir := range w.record.Dirs {
			if there, err := w.disk.isDir(dir); err == nil && there {
				kept = append(kept, dir)
			}
		}
		w.record.Dirs = kept
		return w.record.save(w.disk)
	}
	rest := slices.Clone(w.record.Dirs)
	slices.Reverse(rest)
	for _, path := range []string{temporary(recordPath), recordPath} {
		if err := w.disk.remove(path); err != nil {
			return err
		}
	}
	for _, dir := range append([]string{filepath.Dir(recordPath)}, rest...) {
		if err := w.removeDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeDir removes a recorded directory that is empty; a file or a link of that
// name is not ours.
func (w *writer) removeDir(dir string) error {
	if info, err := w.disk.root.Lstat(w.disk.name(dir)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	if there, err := w.disk.isDir(dir); err != nil || !there {
		return err
	}
	return w.disk.remove(dir)
}

// unused reports whether no file of the record is below a directory.
func (w *writer) unused(dir string) bool {
	return !strings.HasPrefix(recordPath, dir+"/") && !slices.ContainsFunc(w.record.Files, func(e entry) bool {
		return strings.HasPrefix(e.Path, dir+"/")
	})
}

// restore restores what was there before a file of ours. The file stays when it
// was edited, or when a file that stays names it.
func (w *writer) restore(e entry, left []entry) (stays bool, err error) {
	if err = w.disk.remove(temporary(e.Path)); err != nil {
		return false, err
	}
	current, err := w.disk.read(e.Path)
	switch {
	case err != nil:
		return false, err
	case e.untouched(current):
		return false, nil
	case !e.ours(current) && e.Original != nil && !w.record.namesOurs(current):
		return false, nil // an administrator has removed the gateway; the rest belongs to them
	case !e.ours(current):
		w.done.Left = append(w.done.Left, e.Path+": has been edited since it was installed; "+afterEdit(e))
		return true, nil
	case w.named(e.Path, left):
		return true, nil
	case e.Original == nil:
		w.done.Removed = append(w.done.Removed, e.Path)
		return false, w.disk.remove(e.Path)
	}
	w.done.Restored = append(w.done.Restored, e.Path)
	return false, w.disk.write(e.Path, *e.before(current))
}

func afterEdit(e entry) string {
	if e.Original == nil {
		return "remove it if it is not needed, and run nestctl uninstall again"
	}
	return "remove the gateway from it by hand, or restore the bytes in " + recordPath + ", and run nestctl uninstall again"
}

// named reports whether a file in the same directory that stays names a file.
func (w *writer) named(path string, left []entry) bool {
	return slices.ContainsFunc(left, func(e entry) bool {
		c, err := w.disk.read(e.Path)
		return filepath.Dir(e.Path) == filepath.Dir(path) && err == nil && c != nil && bytes.Contains(c.Data, []byte(filepath.Base(path)))
	})
}
