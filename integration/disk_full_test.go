package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const noSpace = "no space left on device"

// smallDisks are options of tmpfs for disks that are full sooner or later.
func smallDisks(most int) (all []string) {
	for n := 2; n <= 30; n += 2 {
		all = append(all, fmt.Sprintf("size=16m,nr_inodes=%d", n))
	}
	for size := 4; size < most; size += max(4, most/16/4*4) {
		all = append(all, fmt.Sprintf("size=%dk", size))
	}
	return all
}

// TestDiskFull: whenever the disk gets full, the pull says so and names a file, nothing wrong is left, and with more
// room the same pull completes.
func TestDiskFull(t *testing.T) {
	needs(t, "all", "linux", "root")
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	for kind, path := range map[string]string{"oci-layout": "app", "oci-archive": "app.tar"} {
		t.Run(kind, func(t *testing.T) {
			full := 0
			for _, options := range smallDisks(4 << 10) {
				dir := tempDir(t)
				smallDisk(t, dir, options)
				args := []string{"pull", "--plain-http", "--to", kind + ":" + filepath.Join(dir, path), a.ref}
				out := client.try(t, args...)
				checkBlobs(t, filepath.Join(dir, map[string]string{"app": "app", "app.tar": "app.tar.partial"}[path]))
				if out.code != exitOK {
					full++
					if out.code != exitFailure || !strings.Contains(out.stderr, noSpace) || !strings.Contains(out.stderr, dir) {
						t.Errorf("%s: exit code %d\n%s", options, out.code, out.stderr)
					}
					if found, err := filepath.Glob(filepath.Join(dir, "app.tar")); err != nil || len(found) > 0 {
						t.Errorf("%s: an archive is there, %v", options, err)
					}
					enlarge(t, dir)
					client.run(t, args...)
				}
				if kind == "oci-layout" {
					checkLayout(t, filepath.Join(dir, path), a.records()...)
				} else if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
					t.Errorf("%s: beside the archive: %q, %v", options, left, err)
				}
			}
			if full < 10 {
				t.Errorf("only %d disks were full", full)
			}
		})
	}
}

// TestDiskFullInstalling: an installation that finds no room says which file it could not write; with room it is
// completed, and uninstall takes everything away, whether it was completed or not.
func TestDiskFullInstalling(t *testing.T) {
	needs(t, "linux", "root")
	client := newNestctl(t, t.TempDir())
	full := 0
	for _, options := range smallDisks(64) {
		root := tempDir(t)
		smallDisk(t, root, options)
		must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755)) // the smallest disk has room for that
		install := []string{"install", "--mode", "node", "--registry", "reg.test", "--root", root, "--no-systemd"}
		out := client.try(t, install...)
		if out.code != exitOK {
			full++
			if out.code != exitFailure || !strings.Contains(out.stderr, noSpace) || !strings.Contains(out.stderr, "etc/") {
				t.Errorf("%s: exit code %d\n%s", options, out.code, out.stderr)
			}
			enlarge(t, root)
			if full%2 == 0 {
				client.run(t, install...)
			}
		}
		client.run(t, "uninstall", "--root", root)
		left, err := exec.CommandContext(t.Context(), "find", root, "-type", "f").Output()
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left over: %s, %v", options, left, err)
		}
	}
	if full < 10 {
		t.Errorf("only %d disks were full", full)
	}
}

// TestDiskFullContainerd: containerd's content store is full before a layer has arrived. The pull says so, nothing wrong
// is in the store, and with room it goes on where it was.
func TestDiskFullContainerd(t *testing.T) {
	const large = 12 << 20
	// What came of a pull that failed is garbage, which containerd collects a moment after it has started.
	const later = `[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "1h"
`
	stock := func(t *testing.T) *containerd {
		return startDaemon(t, newest, func(string) string { return later }, criPlugins...)
	}
	for name, pull := range map[string]func(*testing.T, *app) (*containerd, func() (string, error)){
		"nestctl": func(t *testing.T, a *app) (*containerd, func() (string, error)) {
			daemon, client := stock(t), newNestctl(t, dockerConfig(t, a.logins, nil))
			return daemon, func() (string, error) {
				out, err := client.command(t, daemon.pull(a.ref)...).CombinedOutput()
				return string(out), err
			}
		},
		"plugin": func(t *testing.T, a *app) (*containerd, func() (string, error)) {
			daemon := startInside(t, a.logins, later)
			return daemon, func() (string, error) {
				out, err := daemon.command(t, "image", "pull", "--plain-http", a.ref).CombinedOutput()
				return string(out), err
			}
		},
		"gateway": func(t *testing.T, a *app) (*containerd, func() (string, error)) {
			daemon, g := stock(t), startGateway(t, a, "node")
			return daemon, func() (string, error) { return daemon.tryPullHosts(t, transfer, g.certsD, a.ref) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			needs(t, "linux", "root")
			a, blob := publishBig(t, large)
			daemon, pull := pull(t, a)
			store := filepath.Join(daemon.dir, "root", "io.containerd.content.v1.content")
			daemon.program.stop(t)
			smallDisk(t, store, "size=8m")
			daemon.boot(t)
			out, err := pull()
			if err == nil || !strings.Contains(out, noSpace) {
				t.Errorf("%v\n%s", err, out)
			}
			if err := spoilt(filepath.Join(store, "blobs", "sha256")); err != nil {
				t.Error(err)
			}
			enlarge(t, store)
			a.requests()
			if out, err := pull(); err != nil {
				t.Fatalf("with room: %v\n%s", err, out)
			}
			var again int64
			for _, line := range a.requests() {
				if line.Reference == blob.desc.Digest.String() {
					again += line.Bytes
				}
			}
			if again > large*2/3 {
				t.Errorf("%d bytes were fetched again", again)
			}
		})
	}
}

// TestDiskFullLocations: a gateway whose location cache cannot grow serves, starts, and says what is wrong; one that cannot
// make its location cache says why, and starts when there is room.
func TestDiskFullLocations(t *testing.T) {
	needs(t, "linux", "root")
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	state := filepath.Join(g.root, "state")
	must(t, os.RemoveAll(state))
	smallDisk(t, state, "size=128k,mode=0700") // of its own: others could make files in a fresh tmpfs
	fill(t, filepath.Join(state, "full"))
	out := newNestctl(t, g.docker).try(t, "gateway", "--config", g.config)
	if out.code != exitFailure || !strings.Contains(out.stderr, filepath.Join(state, "trail.db")) || !strings.Contains(out.stderr, noSpace) {
		t.Errorf("exit code %d: %s", out.code, out.stderr)
	}

	must(t, os.Remove(filepath.Join(state, "full")))
	g.boot(t)
	fill(t, filepath.Join(state, "full"))
	for range 2 {
		startContainerd(t).pullHosts(t, transfer, g.certsD, a.ref)
		g.stop(t)
		if log := readText(t, g.log); !strings.Contains(log, noSpace) || !strings.Contains(log, "location cache") || g.cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("%s; the log does not tell of the full disk:\n%s", g.cmd.ProcessState, log)
		}
		g.boot(t)
	}
	enlarge(t, state)
	startContainerd(t).pullHosts(t, transfer, g.certsD, a.ref)
	if left, err := filepath.Glob(filepath.Join(state, "*.unreadable-*")); err != nil || len(left) > 0 {
		t.Errorf("put aside: %q, %v", left, err)
	}
}

// fill fills a disk with a file.
func fill(t testing.TB, path string) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; _, err = file.Write(make([]byte, size)) {
		}
	}
}

// smallDisk mounts a file system of its own at dir, with options of tmpfs such as "size=64k" or "nr_inodes=10".
func smallDisk(t testing.TB, dir, options string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	mountTmpfs(t, dir, false, options)
}

// enlarge makes room on a small disk.
func enlarge(t testing.TB, dir string) {
	t.Helper()
	mountTmpfs(t, dir, true, "size=256m,nr_inodes=10000")
}
