//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// distrust says what is wrong with a file, directory or link, and what puts it
// right. Of a directory with the sticky bit nobody takes out what is not his.
func distrust(path string, info fs.FileInfo, forbidden fs.FileMode) (wrong, right string) {
	link := info.Mode()&fs.ModeSymlink != 0
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int64(owner) != int64(os.Geteuid()) {
		chown := "chown root "
		if link {
			chown = "chown -h root "
		}
		return fmt.Sprintf("belongs to user %d", owner), chown + shownPath(path)
	}
	switch {
	case link:
		forbidden = 0
	case info.IsDir() && info.Mode()&fs.ModeSticky != 0:
		forbidden = 0
	case info.IsDir():
		forbidden = 0o022
	}
	has := info.Mode().Perm() & forbidden
	writes, reads := has&0o022 != 0, has&0o044 != 0
	switch {
	case writes && reads:
		return "can be read and written by its group or others", "chmod go-rw " + shownPath(path)
	case writes:
		return "can be written by its group or others", "chmod go-w " + shownPath(path)
	case reads:
		return "can be read by its group or others", "chmod go-r " + shownPath(path)
	}
	return "", ""
}
