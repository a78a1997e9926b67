package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// containerd is a daemon with root, state and socket of its own.
type containerd struct {
	program   *process
	dir       string
	address   string
	namespace string
	version   string // its minor version
}

// startContainerd starts a daemon with an empty content store.
func startContainerd(t testing.TB) *containerd {
	t.Helper()
	return startContainerdVersion(t, newest)
}

// startContainerdVersion starts a daemon of a minor version. From then on it is this version whose
// programs the test finds in PATH.
func startContainerdVersion(t testing.TB, version string) *containerd {
	t.Helper()
	return startDaemon(t, version, func(string) string { return "" }, criPlugins...)
}

// startDaemon starts a daemon without some plugins. What configure returns for the daemon's directory
// ends its configuration.
func startDaemon(t testing.TB, version string, configure func(dir string) string, without ...string) *containerd {
	t.Helper()
	needs(t, "linux", "root", "containerd", "containerd-shim-runc-v2", "ctr", "runc")
	usePrograms(t, version)
	dir := tempDir(t)
	overlayable(t, dir)
	c := &containerd{dir: dir, address: filepath.Join(dir, "containerd.sock"), namespace: "test", version: version}
	text := daemonConfig(version, dir, without) + configure(dir)
	writeFile(t, filepath.Join(dir, "config.toml"), text)

	// Registered first to run last: shims belong to no process group of ours and outlive the daemon.
	t.Cleanup(func() {
		if pids := killByArgument(c.address); len(pids) > 0 {
			t.Errorf("containers were left behind: killed shims %v", pids)
		}
	})
	c.boot(t)
	return c
}

// boot starts the daemon, again when it was killed.
func (c *containerd) boot(t testing.TB) {
	t.Helper()
	program := "containerd"
	if c.version == inside {
		program = "containerd-nested"
	}
	needs(t, program)
	c.program = start(t, program, "--config", filepath.Join(c.dir, "config.toml"))
	c.program.await(t, func() bool { return c.command(t, "version").Run() == nil })
}

// in is the daemon with another namespace.
func (c *containerd) in(namespace string) *containerd {
	other := *c
	other.namespace = namespace
	return &other
}

func (c *containerd) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	flags := []string{"--address", c.address, "--namespace", c.namespace}
	return exec.CommandContext(t.Context(), "ctr", append(flags, args...)...)
}

// ctr runs a command of ctr in the test's namespace.
func (c *containerd) ctr(t testing.TB, args ...string) string {
	t.Helper()
	return runCommand(t, c.command(t, args...))
}

// runImage runs a container of an image and returns what it printed.
func (c *containerd) runImage(t testing.TB, image string) string {
	t.Helper()
	return c.ctr(t, "run", "--rm", "--fifo-dir", c.dir, image, "c"+filepath.Base(c.dir))
}

// images are the names of the image records.
func (c *containerd) images(t testing.TB) []string {
	t.Helper()
	return strings.Fields(c.ctr(t, "images", "ls", "-q"))
}

// blobs are the digests in the content store.
func (c *containerd) blobs(t testing.TB) []string {
	t.Helper()
	return strings.Fields(c.ctr(t, "content", "ls", "-q"))
}

// incomplete are the lines of `ctr images check` that tell of an image that is not all there.
func (c *containerd) incomplete(t testing.TB) []string {
	t.Helper()
	var bad []string
	for i, line := range strings.Split(strings.TrimSpace(c.ctr(t, "images", "check")), "\n") {
		if i > 0 && !strings.Contains(line, "complete (") || strings.Contains(line, "incomplete") {
			bad = append(bad, line)
		}
	}
	return bad
}

// collect runs a garbage collection to its end. `ctr content prune references` does that too, but
// first drops the references of unpacked images to their layers.
func (c *containerd) collect(t testing.TB) {
	t.Helper()
	lease := strings.TrimSpace(c.ctr(t, "leases", "create"))
	c.ctr(t, "leases", "rm", "--sync", lease)
}
