//go:build unix && !linux

package auth

import (
	"os/exec"
	"syscall"
)

// runGroup runs a program that [isolate] has given a process group, and ends
// what it leaves behind in it. One that is to live on, as gpg-agent, leaves the
// group for a session of its own.
func runGroup(cmd *exec.Cmd) error {
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return err
}
