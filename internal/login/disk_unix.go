//go:build unix

package login

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lock waits until no other process has locked a directory, and locks it until the
// file is closed. Some network file systems cannot lock; there the comparison before
// the file is replaced has to do.
func lock(dir *os.File) {
	for errors.Is(syscall.Flock(int(dir.Fd()), syscall.LOCK_EX), syscall.EINTR) {
	}
}

// keepOwner gives a file the owner of the one that it replaces: root may change a
// user's.
func keepOwner(file *os.File, old fs.FileInfo) error {
	owner := old.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}
