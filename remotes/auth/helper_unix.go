//go:build unix

package auth

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// isolate gives a helper a process group of its own, so that it ends with its
// children. Unless the helper may ask the user something, it also gets a
// session without a terminal.
func isolate(cmd *exec.Cmd, interactive bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: !interactive, Setpgid: interactive}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// distrust says why a helper or its directory is not to be trusted.
func distrust(path string) (reason string) {
	info, err := os.Stat(path)
	if err != nil {
		return "cannot be examined"
	}
	if info.Mode().Perm()&0o002 != 0 {
		return "can be written by everybody; chmod o-w it"
	}
	return distrustOwner(info.Sys().(*syscall.Stat_t).Uid, uint32(os.Geteuid()))
}

// distrustAbove says in which directory above one others could replace it. The
// sticky bit protects what is in a directory.
func distrustAbove(dir string) (reason string) {
	for above := filepath.Dir(dir); ; above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			return "cannot be reached"
		}
		if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Sprintf("is in %s, which can be written by everybody; chmod o-w that", above)
		}
		if above == filepath.Dir(above) {
			return ""
		}
	}
}

// distrustOwner says why an owner is not trusted. In a container that runs as
// some random user, everything that its image did not leave to root belongs to
// another user.
func distrustOwner(owner, us uint32) (reason string) {
	if owner != 0 && owner != us {
		return fmt.Sprintf("belongs to another user (%d; we are %d); chown it to root, for a container in its image", owner, us)
	}
	return ""
}
