package auth

import (
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"
)

// runGroup runs a program that [isolate] has given a process group, and ends
// what it leaves behind in it. That is done before the program's end is taken
// note of: until then its number, which is the group's, is nobody else's. What
// an agent wrote is there still. One that is to live on, as gpg-agent, leaves
// the group for a session of its own.
func runGroup(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	return cmd.Wait()
}
