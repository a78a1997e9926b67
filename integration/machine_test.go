//go:build linux && kubelet

package integration

import (
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a kubelet changes on its machine, wherever its own directory is.
var (
	kubeletSysctls = []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
	kubeletFolders = []string{"/var/lib/kubelet", "/var/log/pods", "/var/log/containers", "/usr/libexec/kubernetes", "/etc/kubernetes"}
)

// keepMachine puts back, at the end of the test, what a kubelet changes. That would do harm to one that the machine has.
func keepMachine(t *testing.T) {
	t.Helper()
	const plugins = "/var/lib/kubelet/device-plugins/kubelet.sock" // whatever --root-dir is
	if conn, err := net.Dial("unix", plugins); err == nil {
		_ = conn.Close()
		t.Fatalf("a kubelet runs on this machine: it listens on %s", plugins)
	}
	sysctls, files := readSysctls(t), listFolders(t)
	t.Cleanup(func() {
		for name, value := range readSysctls(t) {
			if value != sysctls[name] {
				if err := os.WriteFile("/proc/sys/"+name, []byte(sysctls[name]), 0); err != nil {
					t.Error(err)
				}
			}
		}
		for _, path := range slices.Backward(listFolders(t)) { // what is in a folder before it
			if !slices.Contains(files, path) {
				if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			}
		}
		if got := readSysctls(t); !maps.Equal(got, sysctls) {
			t.Errorf("sysctls %v, and before the test %v", got, sysctls)
		}
		if got := listFolders(t); !slices.Equal(got, files) {
			t.Errorf("files %q, and before the test %q", got, files)
		}
	})
}

func readSysctls(t *testing.T) map[string]string {
	values := map[string]string{}
	for _, name := range kubeletSysctls {
		values[name] = readText(t, "/proc/sys/"+name)
	}
	return values
}

// listFolders lists folders and all that is in them, each folder before what is in it.
func listFolders(t *testing.T) []string {
	var paths []string
	for _, folder := range kubeletFolders {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			paths = append(paths, path)
			return err
		})
		must(t, err)
	}
	return paths
}
