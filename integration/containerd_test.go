package integration

import (
	"fmt"
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
}

// containerdConfig leaves out what the tests have no use for, what writes outside its directory, and
// CRI, which takes long to start.
const containerdConfig = `version = 4
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = [
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.grpc.v1.cri",
  "io.containerd.image-verifier.v1.bindir",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.monitor.container.v1.restart",
  "io.containerd.nri.v1.nri",
  "io.containerd.podsandbox.controller.v1.podsandbox",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.tracing.processor.v1.otlp",
]

[plugins."io.containerd.server.v1.grpc"]
  address = "%[1]s/containerd.sock"

[plugins."io.containerd.server.v1.ttrpc"]
  address = "%[1]s/containerd.sock.ttrpc"
`

// startContainerd starts a daemon with an empty content store.
func startContainerd(t *testing.T) *containerd {
	t.Helper()
	needs(t, "linux", "root", "containerd", "containerd-shim-runc-v2", "ctr", "runc")
	dir := tempDir(t)
	overlayable(t, dir)
	c := &containerd{dir: dir, address: filepath.Join(dir, "containerd.sock"), namespace: "test"}
	config := writeFile(t, filepath.Join(dir, "config.toml"), fmt.Sprintf(containerdConfig, dir))

	// Registered first to run last: shims belong to no process group of ours and outlive the daemon.
	t.Cleanup(func() {
		if pids := killByArgument(c.address); len(pids) > 0 {
			t.Errorf("containers were left behind: killed shims %v", pids)
		}
	})
	c.program = start(t, "containerd", "--config", config)
	c.program.await(t, func() bool { return c.command(t, "version").Run() == nil })
	return c
}

func (c *containerd) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	flags := []string{"--address", c.address, "--namespace", c.namespace}
	return exec.CommandContext(t.Context(), "ctr", append(flags, args...)...)
}

// ctr runs a command of ctr in the test's namespace.
func (c *containerd) ctr(t *testing.T, args ...string) string {
	t.Helper()
	return runCommand(t, c.command(t, args...))
}

// runImage runs a container of an image and returns what it printed.
func (c *containerd) runImage(t *testing.T, image string) string {
	t.Helper()
	return c.ctr(t, "run", "--rm", "--fifo-dir", c.dir, image, "c"+filepath.Base(c.dir))
}

// images are the names of the image records.
func (c *containerd) images(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.ctr(t, "images", "ls", "-q"))
}

// blobs are the digests in the content store.
func (c *containerd) blobs(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.ctr(t, "content", "ls", "-q"))
}

// incomplete are the lines of `ctr images check` that tell of an image that is not all there.
func (c *containerd) incomplete(t *testing.T) []string {
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
func (c *containerd) collect(t *testing.T) {
	t.Helper()
	lease := strings.TrimSpace(c.ctr(t, "leases", "create"))
	c.ctr(t, "leases", "rm", "--sync", lease)
}
