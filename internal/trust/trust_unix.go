//go:build unix

package trust

import (
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// noFollow makes opening a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// systemOwner owns the root directory: root, or in a user namespace that does
// not map root, the user that such a namespace shows in its place. That user
// decides about every file anyway.
var systemOwner = sync.OnceValue(func() int64 {
	info, err := os.Lstat("/")
	if err != nil {
		return 0
	}
	return int64(info.Sys().(*syscall.Stat_t).Uid)
})

// others reports whether a user is neither root nor that of this process.
func others(uid uint32) bool {
	owner := int64(uid)
	return owner != 0 && owner != int64(os.Geteuid()) && owner != systemOwner()
}

// distrust says what is wrong with a file, directory or link. The mode must not
// have the forbidden bits; those of a link do not matter.
func distrust(path string, info fs.FileInfo, forbidden fs.FileMode) *Error {
	if owner := info.Sys().(*syscall.Stat_t).Uid; others(owner) {
		chown := "chown root "
		if info.Mode()&fs.ModeSymlink != 0 {
			chown = "chown -h root "
		}
		return &Error{path, fmt.Sprintf("belongs to user %d", owner), chown + Shown(path)}
	}
	has := info.Mode().Perm() & forbidden
	writes, reads := has&0o022 != 0, has&0o044 != 0
	switch {
	case writes && reads:
		return &Error{path, "can be read and written by its group or others", "chmod go-rw " + Shown(path)}
	case writes:
		return &Error{path, "can be written by its group or others", "chmod go-w " + Shown(path)}
	case reads:
		return &Error{path, "can be read by its group or others", "chmod go-r " + Shown(path)}
	}
	return nil
}

// Owned reports whether a file belongs to this process's user.
func Owned(info fs.FileInfo) bool {
	return int64(info.Sys().(*syscall.Stat_t).Uid) == int64(os.Geteuid())
}

// Own reports whether a file belongs to this process's user and nobody else
// can write to it.
func Own(info fs.FileInfo) bool { return Owned(info) && info.Mode().Perm()&0o022 == 0 }
