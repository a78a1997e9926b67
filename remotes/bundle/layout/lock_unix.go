//go:build unix

package layout

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/nestedoci/nested/internal/trust"
)

// openNonblock keeps the opening of a pipe from blocking until its other end is
// opened.
const openNonblock = syscall.O_NONBLOCK

// lockInside: the lock is on the directory itself.
const lockInside = false

// lockDir locks a directory against other pulls.
func lockDir(dir *os.Root) (unlock func() error, err error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another pull is writing here"), d.Close())
	}
	return d.Close, nil
}

// isTrusted reports whether a file belongs to the user or to root.
func isTrusted(info fs.FileInfo) bool {
	return trust.Owned(info) || info.Sys().(*syscall.Stat_t).Uid == 0
}

// isPrivate reports whether nobody but the user can write to a directory.
func isPrivate(info fs.FileInfo) bool {
	const others = 0o022
	return info.IsDir() && trust.Owned(info) && info.Mode().Perm()&others == 0
}

// isOwn reports whether a file belongs to the user and has no other name, under
// which others could change it.
func isOwn(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && trust.Owned(info) && hasOneName(info)
}

func hasOneName(info fs.FileInfo) bool { return info.Sys().(*syscall.Stat_t).Nlink == 1 }

// syncFile syncs a file, or the names in a directory, to the disk.
func syncFile(dir *os.Root, name string) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
