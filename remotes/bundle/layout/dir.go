package layout

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Layouts and archives may be in directories that others own or can write.
// Whatever these put there, nothing is written elsewhere, and what is committed
// is what was written: all names are looked up below a directory that stays
// open, files are made exclusively, and what was opened is looked at, not its
// name.

// located prefixes the names in errors with the directory.
func located(dir string, err error) error {
	var name *fs.PathError
	var names *os.LinkError
	switch {
	case errors.As(err, &name) && !filepath.IsAbs(name.Path) && !strings.HasPrefix(name.Path, dir):
		name.Path = filepath.Join(dir, name.Path)
	case errors.As(err, &names) && !filepath.IsAbs(names.New):
		names.Old, names.New = filepath.Join(dir, names.Old), filepath.Join(dir, names.New)
	}
	return err
}

// openDir opens a directory. A link to one is followed when it belongs to the
// user or to root.
func openDir(dir string) (*os.Root, error) {
	before, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if before.Mode()&fs.ModeSymlink != 0 && !isTrusted(before) {
		return nil, fmt.Errorf("%s is a link that another user has made; name the directory itself", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	after, err := root.Stat(".")
	if err == nil && before.IsDir() && !os.SameFile(before, after) {
		err = fmt.Errorf("%s has been replaced by another directory", dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// openPrivate makes a directory that nobody else can write, or opens the one
// that an earlier run has left.
func openPrivate(parent *os.Root, name string) (*os.Root, error) {
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	before, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	inTheWay := errors.New(filepath.Join(parent.Name(), name) + " is in the way, and other users can change it; remove it")
	if !before.IsDir() {
		return nil, inTheWay
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	after, err := dir.Stat(".")
	if err == nil && (!os.SameFile(before, after) || !isPrivate(after)) {
		err = inTheWay
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// openRegular opens a file for reading. It refuses anything on which a reader
// could block.
func openRegular(dir *os.Root, name string) (*os.File, fs.FileInfo, error) {
	file, err := dir.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := checkRegular(file)
	return file, info, err
}

// checkRegular closes anything but a regular file.
func checkRegular(file *os.File) (fs.FileInfo, error) {
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", file.Name())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return info, nil
}

// newFile is the prefix of files that have not been renamed into place yet.
const newFile = ".new-"

// oldNewFiles are the names that earlier versions used for them.
var oldNewFiles = []string{".blob.new", ".index.json.new", ".oci-layout.new"}

// removeNew removes the files that a run left when it was interrupted.
func removeNew(dir *os.Root) error {
	names, err := fs.Glob(dir.FS(), newFile+"*")
	for _, name := range append(names, oldNewFiles...) {
		err = errors.Join(err, dir.RemoveAll(name))
	}
	return err
}

// arrival is a new file that is renamed into place when it is complete.
type arrival struct {
	dir     *os.Root
	perm    fs.FileMode
	before  func(change, path string) error
	into    string // for errors
	fill    func(*os.File) error
	rename  func(name string) error     // into place
	arrived func() (fs.FileInfo, error) // what is there after that
}

// put puts the complete file in its place, or nothing.
func (p arrival) put() error {
	name := newFile + rand.Text()
	shown := filepath.Join(p.dir.Name(), name)
	if err := p.before("create", shown); err != nil {
		return err
	}
	file, err := p.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, p.perm)
	if err != nil {
		return err
	}
	if err = p.fill(file); err == nil {
		err = p.before("rename", p.into)
	}
	if err == nil {
		err = p.move(file, name)
	}
	if err = errors.Join(err, ignoreClosed(file.Close())); err != nil && p.before("remove", shown) == nil {
		if removed := p.dir.Remove(name); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// move renames the file. Where possible it stays open meanwhile, so that no
// other file can be mistaken for it.
func (p arrival) move(file *os.File, name string) error {
	written, err := file.Stat()
	if err == nil && runtime.GOOS == "windows" {
		err = file.Close()
	}
	if err == nil {
		err = p.rename(name)
	}
	if err != nil {
		return err
	}
	there, err := p.arrived()
	if err == nil && !os.SameFile(written, there) {
		err = fmt.Errorf("%s is not what was written; another user can write there", p.into)
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// checkDirs refuses directories of a layout that are something else, such as
// links.
func checkDirs(dir *os.Root, names ...string) error {
	for _, name := range names {
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory (%s); name another layout", filepath.Join(dir.Name(), name), strings.TrimSpace(info.Mode().Type().String()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
