package integration

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// minors are the versions of containerd that the tests know how to configure, oldest first. The
// newest is in bin, the others are in bin/matrix; the Makefile has their patch levels.
var minors = []string{"1.7", "2.1", "2.2", "2.3", newest}

const newest = "2.4"

// inside has our plugin in it, and stock is the same version without: the newest, or the one that INSIDE names.
const (
	inside = "nested"
	stock  = "stock"
)

func insideVersion() string { return cmp.Or(os.Getenv("INSIDE"), newest) }

// usePrograms lets the test find the version's programs. containerd, too, looks for its shim in PATH
// before it looks beside itself.
func usePrograms(t testing.TB, version string) {
	t.Helper()
	program := "containerd"
	switch version {
	case inside:
		version, program = insideVersion(), "containerd-nested"
	case stock:
		version = insideVersion()
	}
	if version == newest {
		return
	}
	needs(t, "all")
	built, err := filepath.Glob(filepath.Join("..", "bin", "matrix", "v"+version+".*", program))
	must(t, err)
	if len(built) == 0 {
		needs(t, program+" "+version)
	}
	dir, err := filepath.Abs(filepath.Dir(built[0]))
	must(t, err)
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// unusedPlugins are what the tests have no use for, and what writes outside a daemon's directory. A
// version overlooks those it does not have.
var unusedPlugins = []string{
	"io.containerd.internal.v1.opt",
	"io.containerd.internal.v1.restart",
	"io.containerd.internal.v1.tracing",
	"io.containerd.monitor.container.v1.restart",
	"io.containerd.nri.v1.nri",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.tracing.processor.v1.otlp",
}

// criPlugins take long to start.
var criPlugins = []string{
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.grpc.v1.cri",
	"io.containerd.podsandbox.controller.v1.podsandbox",
}

// configVersion is the version of the configuration that a version of containerd writes itself.
func configVersion(version string) int {
	switch version {
	case "1.7":
		return 2
	case "2.1", "2.2":
		return 3
	default:
		return 4
	}
}

// daemonConfig gives the daemon a directory of verifiers that is not there, and not the machine's. The
// plugin has to stay: in 2.1 and 2.2 the transfer service would not start without it.
func daemonConfig(version, dir string, without []string) string {
	format := configVersion(version)
	grpc, ttrpc := "grpc", "ttrpc"
	if format >= 4 {
		grpc, ttrpc = `plugins."io.containerd.server.v1.grpc"`, `plugins."io.containerd.server.v1.ttrpc"`
	}
	disabled := strings.Join(slices.Concat(without, unusedPlugins), `", "`)
	return fmt.Sprintf(`version = %d
root = "%[2]s/root"
state = "%[2]s/state"
disabled_plugins = ["%[3]s"]

[%[4]s]
  address = "%[2]s/containerd.sock"

[%[5]s]
  address = "%[2]s/containerd.sock.ttrpc"

[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "%[2]s/verifiers"
`, format, dir, disabled, grpc, ttrpc)
}

// criConfig asks for the least from the machine: it may have no CNI, and not let us raise a process's
// chances against the OOM killer.
func criConfig(version, dir string, o criOptions) string {
	if configVersion(version) < 3 {
		return fmt.Sprintf(`
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  cdi_spec_dirs = []
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = %q
[plugins."io.containerd.grpc.v1.cri".cni]
  conf_dir = "%s/cni"
`, pauseName, o.certsD, dir)
	}
	return fmt.Sprintf(`
[plugins."io.containerd.cri.v1.images"]
  use_local_image_pull = %t
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
[plugins."io.containerd.cri.v1.images".registry]
  config_path = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  cdi_spec_dirs = []
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
  conf_dir = "%s/cni"
`, o.localPull, pauseName, o.certsD, dir)
}
