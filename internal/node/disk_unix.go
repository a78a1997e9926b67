//go:build unix

package node

import (
	"io/fs"
	"os"
	"syscall"
)

// ownerOf returns the owner of a file.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// lockFile keeps other processes from locking a file until it is closed.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// onReadOnly reports whether a path is in a file system that is mounted
// read-only.
func onReadOnly(path string) bool {
	const write = 2 // W_OK of access(2)
	return syscall.Access(path, write) == syscall.EROFS
}
