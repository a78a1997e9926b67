package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownGroup lets a test end all that a daemon started, and ends the daemon when the test binary
// is killed before its cleanups ran.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// unmountBelow unmounts what is mounted at and below dir, last mounted first.
func unmountBelow(t testing.TB, dir string) {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
		return
	}
	var points []string
	for line := range strings.Lines(string(info)) {
		// The fifth field; the paths of the tests have no characters that the kernel escapes.
		point := strings.Fields(line)[4]
		if point == dir || strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	for _, point := range slices.Backward(points) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", point, err)
		}
	}
}

// removeCgroup removes a cgroup and all below it, in which no process may be. It tries again, because what a daemon
// started may be removing some of it at the same time.
func removeCgroup(t testing.TB, dir string) {
	t.Helper()
	var said []byte
	gone := func() bool {
		said, _ = exec.Command("find", dir, "-depth", "-type", "d", "-delete").CombinedOutput() // shown if it is not gone
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	}
	defer func() {
		if !gone() {
			t.Logf("%s", said)
		}
	}()
	await(t, dir+" is gone", stopLimit, gone)
}

// overlayMagic is OVERLAYFS_SUPER_MAGIC of linux/magic.h.
const overlayMagic = 0x794c7630

// overlayable makes dir fit to hold the upper directories of overlay mounts, which overlayfs itself,
// below a container's /tmp for one, is not.
func overlayable(t testing.TB, dir string) {
	t.Helper()
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(dir, &fs))
	if fs.Type == overlayMagic {
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, ""))
	}
}

// killByArgument kills processes that have the argument in their command line and returns their ids.
func killByArgument(argument string) []int {
	var killed []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !slices.ContainsFunc(bytes.Split(line, []byte{0}), func(a []byte) bool { return string(a) == argument }) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed = append(killed, pid)
		}
	}
	return killed
}

// peakMemory watches a process until done, and returns the most memory in bytes that it was seen to
// hold. Its rusage would not do: the kernel counts in what the test binary held when it forked.
func peakMemory(pid int, done <-chan struct{}) int64 {
	var peak int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, after, found := strings.Cut(string(status), "VmHWM:"); err == nil && found {
			kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			if err == nil {
				peak = max(peak, kib<<10)
			}
		}
		select {
		case <-done:
			return peak
		case <-tick.C:
		}
	}
}

// mountTmpfs mounts a file system in memory, or changes one that is mounted. It goes with the directory's test.
func mountTmpfs(t testing.TB, dir string, again bool, options string) {
	t.Helper()
	var flags uintptr
	if again {
		flags = syscall.MS_REMOUNT
	}
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", flags, options))
}
