package node

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/trust"
)

// disk is the node's file system, or that of an image below --root. Paths are
// those of the node. No symbolic link leads out of it, and nothing is read or
// changed in a directory that others than root and this process's user own or
// can write: the owner of an image must not make root write elsewhere.
type disk struct {
	root  *os.Root
	bases map[string]string // directories that are links on this node, with their targets
	// before is called before each change; an error ends it. For tests.
	before func(change string) error
	// flush makes what was done in a file or directory last; tests need not wait for it.
	flush  func(*os.File) error
	locked []*os.File // directories
	image  bool
	dry    bool // nothing is changed: what would be is reported as done
}

// openDisk opens the disk of this node, or that of an image.
func openDisk(root string) (*disk, error) {
	d := &disk{bases: map[string]string{}, before: func(string) error { return nil }, flush: (*os.File).Sync, image: root != ""}
	var err error
	d.root, err = os.OpenRoot(cmp.Or(root, "/"))
	return d, err
}

// follow allows directories of this node to be symbolic links to anywhere.
// Below them, and in an image, links may not lead out.
func (d *disk) follow(dirs ...string) {
	for _, dir := range dirs {
		above, below := dir, ""
		for !d.image && above != "" && above != "/" {
			if real, err := filepath.EvalSymlinks(above); err == nil {
				d.bases[dir] = filepath.Join(real, below)
				break
			}
			above, below = filepath.Dir(above), filepath.Join(filepath.Base(above), below)
		}
	}
}

func (d *disk) close() error {
	var errs []error
	for _, dir := range d.locked {
		errs = append(errs, dir.Close())
	}
	return errors.Join(append(errs, d.root.Close())...)
}

// name is a path for os.Root.
func (d *disk) name(path string) string {
	for base, real := range d.bases {
		if rest, ok := strings.CutPrefix(path, base); ok && (rest == "" || rest[0] == '/') {
			path = real + rest
			break
		}
	}
	if path == "/" {
		return "."
	}
	return strings.TrimPrefix(filepath.Clean(path), "/")
}

// contents are a file's bytes, mode and owner.
type contents struct {
	Data []byte      `json:"data"`
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
}

// at is the path of a file for this process. On this node it is the path
// itself, with the links that follow has resolved, because the owners of their
// targets count, too.
func (d *disk) at(path string) string {
	if !d.image {
		return filepath.Clean(path)
	}
	return filepath.Join(d.root.Name(), d.name(path))
}

// own refuses a directory that others own or can write, or that is in such a
// directory.
func (d *disk) own(dir string) error { return trust.Way(d.at(dir)) }

// ownRoot is own for the root, with another next step: the directories above an
// image may be a user's home.
func (d *disk) ownRoot() error {
	err := d.own("/")
	if bad := new(trust.Error); d.image && errors.As(err, &bad) {
		return fmt.Errorf("root: %w, or move the image below directories that only root and you own and can write", bad)
	}
	return err
}

// ownIfThere is own for a directory that need not exist.
func (d *disk) ownIfThere(dir string) error {
	if err := d.own(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// read returns a file; nil when it does not exist. Anything but a regular file
// is an error, and so is one that others own or can write.
func (d *disk) read(path string) (*contents, error) {
	info, err := d.root.Lstat(d.name(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, d.ownIfThere(filepath.Dir(path))
	}
	if err != nil {
		return nil, leading(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a regular file; replace it by one, or remove it", path)
	}
	if err = cmp.Or(d.own(filepath.Dir(path)), trust.File(d.at(path))); err != nil {
		return nil, err
	}
	return d.readOpened(path, info)
}

// readOpened reads a file, and checks that it is the one that was examined.
func (d *disk) readOpened(path string, seen fs.FileInfo) (*contents, error) {
	file, err := d.root.Open(d.name(path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err = trust.Opened(file); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil || !os.SameFile(info, seen) {
		return nil, cmp.Or(err, fmt.Errorf("%s: has just been changed; run this again", path))
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	uid, gid := ownerOf(info)
	return &contents{data, info.Mode().Perm(), uid, gid}, nil
}

// isDir reports whether a directory exists.
func (d *disk) isDir(path string) (bool, error) {
	info, err := d.root.Stat(d.name(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, leading(path, err)
	case !info.IsDir():
		return false, fmt.Errorf("%s: is not a directory; remove it", path)
	}
	return true, nil
}

// isReadOnly reports whether a directory is in a file system that is mounted
// read-only.
func (d *disk) isReadOnly(dir string) bool { return onReadOnly(d.at(dir)) }

// leading explains the error of os.Root about a link.
func leading(path string, err error) error {
	if strings.Contains(err.Error(), "escapes") { // os.Root has no error to compare with
		return fmt.Errorf("%s: leads out through a symbolic link; replace it by a directory", path)
	}
	return err
}

// list returns the names in a directory.
func (d *disk) list(path string) ([]string, error) {
	if err := d.own(path); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(d.root.FS(), d.name(path))
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// missing lists the directories that a file needs and that do not exist, the
// outermost first.
func (d *disk) missing(path string) ([]string, error) {
	var all []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		there, err := d.isDir(dir)
		if err != nil {
			return nil, err
		}
		if there {
			slices.Reverse(all)
			return all, nil
		}
		all = append(all, dir)
	}
}

func (d *disk) mkdir(path string, mode fs.FileMode) error {
	if d.dry {
		return nil
	}
	if err := d.own(filepath.Dir(path)); err != nil {
		return err
	}
	if err := d.before("mkdir " + path); err != nil {
		return err
	}
	err := d.root.Mkdir(d.name(path), mode)
	if errors.Is(err, fs.ErrExist) {
		return d.own(path) // another process made it
	}
	if err == nil {
		err = d.own(path)
	}
	if err != nil {
		return err
	}
	if err := d.root.Chmod(d.name(path), mode); err != nil { // whatever the umask
		return err
	}
	return d.sync(filepath.Dir(path))
}

// temporary is the name under which a file is written before it is renamed. It
// is always the same, so that leftovers of a crash are found again.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), ".nested-"+filepath.Base(path)+".new")
}

// write replaces a file in one step.
func (d *disk) write(path string, c contents) error {
	if d.dry {
		return nil
	}
	if err := d.own(filepath.Dir(path)); err != nil {
		return err
	}
	if err := d.before("create " + temporary(path)); err != nil {
		return err
	}
	if err := d.create(d.name(temporary(path)), c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := d.before("rename to " + path); err != nil {
		return err
	}
	if err := d.root.Rename(d.name(temporary(path)), d.name(path)); err != nil {
		return err
	}
	return d.sync(filepath.Dir(path))
}

func (d *disk) create(name string, c contents) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if uid, gid := ownerOf(info); uid != c.UID || gid != c.GID {
		if err := file.Chown(c.UID, c.GID); err != nil {
			return err
		}
	}
	if err := file.Chmod(c.Mode); err != nil {
		return err
	}
	if _, err := file.Write(c.Data); err != nil {
		return err
	}
	if err := d.flush(file); err != nil {
		return err
	}
	return file.Close()
}

// remove removes a file or an empty directory; it need not exist. A directory
// that is not empty stays.
func (d *disk) remove(path string) error {
	if _, err := d.root.Lstat(d.name(path)); d.dry || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.own(filepath.Dir(path)); err != nil {
		return err
	}
	if err := d.before("remove " + path); err != nil {
		return err
	}
	err := d.root.Remove(d.name(path))
	if errors.Is(err, fs.ErrExist) { // ENOTEMPTY is an ErrExist
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync(filepath.Dir(path))
}

// sync makes the changes in a directory durable.
func (d *disk) sync(path string) error {
	dir, err := d.root.Open(d.name(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return d.flush(dir)
}

// lock locks out other installers until the disk is closed: those with the same
// root and, when there is one, those with the same /etc. A container may have a
// directory for its root and the host's /etc below it.
func (d *disk) lock() error {
	for _, name := range []string{".", "etc"} {
		dir, err := d.root.Open(name)
		if name != "." && err != nil {
			continue // nothing that could be shared; what is in its way is found later
		}
		if err != nil {
			return err
		}
		d.locked = append(d.locked, dir)
		if err := lockFile(dir); err != nil {
			return fmt.Errorf("%s: another nestctl is at work here; wait for it to end", d.root.Name())
		}
	}
	return nil
}
