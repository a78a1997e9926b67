//go:build unix

package auth

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate gives a helper a process group of its own, so that it ends with its
// children, and unless it may ask the user a session without a terminal.
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
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && owner != uint32(os.Geteuid()) {
		return "belongs to another user; chown it to root"
	}
	return ""
}
