//go:build !unix

package auth

import "os/exec"

func isolate(*exec.Cmd, bool) {}

func runGroup(cmd *exec.Cmd) error { return cmd.Run() }

func distrust(string) string { return "" }

func distrustAbove(string) string { return "" }
