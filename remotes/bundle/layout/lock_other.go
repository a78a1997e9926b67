//go:build !unix

package layout

import (
	"io/fs"
	"os"
)

// openNonblock keeps the opening of a pipe from blocking until its other end is
// opened.
const openNonblock = 0

// lockDir locks a directory against other pulls.
func lockDir(*os.Root) (unlock func() error, err error) { return func() error { return nil }, nil }

// isTrusted reports whether a file belongs to the user or to root.
func isTrusted(fs.FileInfo) bool { return true }

func isPrivate(info fs.FileInfo) bool { return info.IsDir() }

// isOwn reports whether a file belongs to the user and has no other name, under
// which others could change it.
func isOwn(info fs.FileInfo) bool { return info.Mode().IsRegular() }

func hasOneName(fs.FileInfo) bool { return true }

// syncFile syncs a file, or the names in a directory, to the disk.
func syncFile(*os.Root, string) error { return nil }
