//go:build !unix

package trust

import "io/fs"

// noFollow is not known here.
const noFollow = 0

// distrust finds nothing where modes say nothing about other users.
func distrust(string, fs.FileInfo, fs.FileMode) *Error { return nil }

// Owned reports whether a file belongs to this process's user.
func Owned(fs.FileInfo) bool { return true }

// Own reports whether a file belongs to this process's user and nobody else
// can write to it.
func Own(fs.FileInfo) bool { return true }
