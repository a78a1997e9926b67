//go:build !unix

package auth

import "os/exec"

// isolate gives a helper a process group of its own, so that it ends with its
// children. Unless the helper may ask the user something, it also gets a
// session without a terminal.
func isolate(*exec.Cmd, bool) {}

func runGroup(cmd *exec.Cmd) error { return cmd.Run() }

func distrust(string) string { return "" }

// distrustAbove says in which directory above one others could replace it. The
// sticky bit protects what is in a directory.
func distrustAbove(string) string { return "" }
