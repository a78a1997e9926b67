//go:build unix

package gateway

import (
	"io/fs"
	"os"
	"syscall"
)

// ownFile tells whether a file belongs to this process's user and nobody else
// can write to it.
func ownFile(info fs.FileInfo) bool {
	return info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}
