//go:build !unix

package trust

import "io/fs"

// noFollow makes opening a symbolic link fail.
const noFollow = 0

// distrust says what is wrong with a file, directory or link. The mode must not
// have the forbidden bits; those of a link do not matter.
func distrust(string, fs.FileInfo, fs.FileMode) *Error { return nil }

// Owned reports whether a file belongs to this process's user.
func Owned(fs.FileInfo) bool { return true }

// Own reports whether a file belongs to this process's user and nobody else
// can write to it.
func Own(fs.FileInfo) bool { return true }
