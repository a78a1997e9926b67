package layout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/windows"
)

// openNonblock keeps the opening of a pipe from blocking until its other end is
// opened.
const openNonblock = 0

// lockInside says that the directory is not empty before it is unlocked: not every file system here forgets the name of a
// file that is open.
const lockInside = true

// lockDir locks a directory against other pulls, with a file in it that one process at a time can write. Windows removes it
// when it is closed, or its process has ended. It may be removed while it is open, as that of an archive is.
func lockDir(dir *os.Root) (unlock func() error, err error) {
	name, err := windows.UTF16PtrFromString(filepath.Join(dir.Name(), ".lock"))
	if err != nil {
		return nil, err
	}
	const attributes = windows.FILE_ATTRIBUTE_HIDDEN | windows.FILE_FLAG_DELETE_ON_CLOSE | windows.FILE_FLAG_OPEN_REPARSE_POINT
	lock, err := windows.CreateFile(name, windows.GENERIC_WRITE|windows.DELETE, windows.FILE_SHARE_DELETE, nil, windows.OPEN_ALWAYS, attributes, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil, errors.New("another pull is writing here")
	}
	return sync.OnceValue(func() error { return windows.CloseHandle(lock) }), err
}

// Who may change files is decided by access control lists here, which nobody looks at (docs/compatibility.md).

// isTrusted reports whether a file belongs to the user or to root.
func isTrusted(fs.FileInfo) bool { return true }

func isPrivate(info fs.FileInfo) bool { return info.IsDir() }

// isOwn reports whether a file belongs to the user and has no other name, under
// which others could change it.
func isOwn(info fs.FileInfo) bool { return info.Mode().IsRegular() }

func hasOneName(fs.FileInfo) bool { return true }

// syncFile syncs a file, or the names in a directory, to the disk.
func syncFile(*os.Root, string) error { return nil }
