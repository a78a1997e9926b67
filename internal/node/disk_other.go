//go:build !unix

package node

import (
	"io/fs"
	"os"
)

// ownerOf returns the owner of a file.
func ownerOf(fs.FileInfo) (uid, gid int) { return os.Geteuid(), os.Getegid() }

// lockFile does nothing here: containerd's nodes are Unix.
func lockFile(*os.File) error { return nil }

func onReadOnly(string) bool { return false }
