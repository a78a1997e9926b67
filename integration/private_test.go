//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// privateNode is the address of a private machine, besides those of loopback: a node must have one.
const privateNode = "10.0.0.1"

// privately runs a test in a process of its own, with a network of its own and mounts that nobody else sees. There /etc,
// /var and the checkout can be written without a trace, and every port is free.
func privately(t *testing.T, run func(t *testing.T, checkout string)) {
	t.Helper()
	const inside = "NESTED_TEST_INSIDE"
	if os.Getenv(inside) == t.Name() {
		startLoopback(t)
		checkout, err := filepath.Abs("..")
		must(t, err)
		scratch := tempDir(t)
		overlayable(t, scratch)
		for i, dir := range []string{"/etc", "/var", checkout} {
			overlayOnto(t, filepath.Join(scratch, fmt.Sprint(i)), dir)
		}
		run(t, checkout)
		return
	}
	test, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), test, "-test.v", "-test.timeout=8m", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = ownGroup()
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n--- PASS: "+t.Name()) { // not so when it is skipped there
		t.Fatalf("%v\n%s", err, out)
	}
}

// overlayOnto lets what is written into a directory go to scratch.
func overlayOnto(t *testing.T, scratch, dir string) {
	t.Helper()
	options := "lowerdir=" + dir
	for _, part := range []string{"upper", "work"} {
		must(t, os.MkdirAll(filepath.Join(scratch, part), 0o755))
		options += "," + part + "dir=" + filepath.Join(scratch, part)
	}
	must(t, syscall.Mount("overlay", dir, "overlay", 0, options))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// startLoopback gives a new network its loopback interface, with the node's address, too.
func startLoopback(t *testing.T) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(socket)
	up, err := unix.NewIfreq("lo")
	must(t, err)
	up.SetUint16(unix.IFF_UP)
	must(t, unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, up))
	second, err := unix.NewIfreq("lo:1")
	must(t, err)
	must(t, second.SetInet4Addr([]byte{10, 0, 0, 1}))
	must(t, unix.IoctlIfreq(socket, unix.SIOCSIFADDR, second))
}
