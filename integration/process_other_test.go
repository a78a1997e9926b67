//go:build !linux

package integration

import (
	"syscall"
	"testing"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// The rest is for containerd, which runs on Linux only.

func unmountBelow(testing.TB, string) {}

func overlayable(testing.TB, string) {}

func killByArgument(string) []int { return nil }

func peakMemory(int, <-chan struct{}) int64 { return 0 }

func mountTmpfs(testing.TB, string, bool, string) {}
