package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/leaktest"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(bareProxy); target != "" {
		serveBareProxy(target)
		return
	}
	bin, err := filepath.Abs("../bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// containerd finds its shim, and clients the credential helpers, through PATH.
	os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	// Nothing of the machine's own configuration may decide a test.
	for _, name := range []string{"DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "CONTAINERD_ADDRESS"} {
		os.Unsetenv(name)
	}
	leaktest.Main(m)
}

// onlyInAll are programs that take long to build, or to fetch.
var onlyInAll = []string{"buildkitd", "conformance", "docker", "dockerd", "helmcharts", "ko", "notation", "podman"}

// needs ends a test that the machine has not the means for: it is skipped, on CI it fails. A need is
// a program in PATH, "root" or "linux", or "all" for what takes long and rarely tells anything new: `make test` leaves
// that to `make test-all`.
func needs(t testing.TB, means ...string) {
	t.Helper()
	for _, mean := range means {
		if testing.Short() && (mean == "all" || slices.Contains(onlyInAll, mean)) {
			t.Skip("only in `make test-all`")
		}
		reason := missing(mean)
		if reason == "" {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("nothing may be skipped on CI: %s", reason)
		}
		t.Skip(reason)
	}
}

func missing(mean string) string {
	switch mean {
	case "all":
	case "linux":
		if runtime.GOOS != "linux" {
			return "needs Linux"
		}
	case "root":
		if os.Geteuid() != 0 {
			return "needs root"
		}
	default:
		if _, err := exec.LookPath(mean); err != nil {
			return fmt.Sprintf("needs %s, which `make packages tools tools-all build`, `make test-kubelet` or `make test-docker` installs or builds", mean)
		}
	}
	return ""
}

// tempDir makes a directory whose path is short enough for Unix sockets in it, which t.TempDir's
// need not be, and removes it at the end with whatever is mounted below.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "nested-")
	must(t, err)
	t.Cleanup(func() {
		unmountBelow(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// await polls until done is true. It is for conditions that announce themselves to nobody.
func await(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
