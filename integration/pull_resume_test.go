package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestResume kills a pull in the middle of a blob. The next one asks for the rest only, and what the
// first one left behind never claims to be whole.
func TestResume(t *testing.T) {
	t.Run("layout", func(t *testing.T) {
		layout := filepath.Join(t.TempDir(), "layout")
		a := killAndResume(t, layout, func(ref string) []string {
			return []string{"pull", "--plain-http", "--to", "oci-layout:" + layout, ref}
		}, func() {
			checkBlobs(t, layout)
			if index := layoutIndex(t, layout); len(index.Manifests) > 0 {
				t.Errorf("the layout's index names what did not arrive: %+v", index)
			}
		})
		checkLayout(t, layout, a.records()...)
	})
	t.Run("archive", func(t *testing.T) {
		dir := t.TempDir()
		archive := filepath.Join(dir, "app.tar")
		killAndResume(t, dir, func(ref string) []string {
			return []string{"pull", "--plain-http", "--to", "oci-archive:" + archive, ref}
		}, func() {
			if found, err := filepath.Glob(archive); err != nil || found != nil {
				t.Errorf("an archive is there: %v, %v", found, err)
			}
		})
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
			t.Errorf("beside the archive: %q, %v", left, err)
		}
	})
	t.Run("containerd", func(t *testing.T) {
		daemon := startContainerd(t)
		store := filepath.Join(daemon.dir, "root", "io.containerd.content.v1.content")
		a := killAndResume(t, store, func(ref string) []string { return daemon.pull(ref) }, func() {
			if images := daemon.images(t); len(images) > 0 {
				t.Errorf("records of a bundle that did not arrive: %q", images)
			}
		})
		if images := daemon.images(t); len(images) != len(a.records()) {
			t.Errorf("images %q, want %q", images, a.records())
		}
	})
}

// killAndResume calls between after the kill; dir is where partial content lies.
func killAndResume(t *testing.T, dir string, args func(ref string) []string, between func()) *app {
	t.Helper()
	const size = 32 << 20
	a, blob := publishBig(t, size)
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	halfway := a.stallAt(blob.desc.Digest.String(), size/2)

	first := client.command(t, args(a.ref)...)
	must(t, first.Start())
	<-halfway.reached
	await(t, "half of the blob is on disk", 20*time.Second, func() bool { return diskUse(dir) > size/3 })
	must(t, first.Process.Signal(syscall.SIGKILL))
	if err := first.Wait(); err == nil {
		t.Error("a pull that was killed ended well")
	}
	between()

	<-halfway.logged
	a.requests()
	client.run(t, args(a.ref)...)
	var rest int64
	for _, line := range only(a.requests(), func(r request) bool { return r.Reference == blob.desc.Digest.String() && r.Status < 400 }) {
		rest += line.Bytes
		var from int64
		if _, err := fmt.Sscanf(line.Range, "bytes=%d-", &from); err != nil || from < size/3 {
			t.Errorf("asked for range %q", line.Range)
		}
	}
	if rest > size*2/3 {
		t.Errorf("%d bytes of %d were asked for again", rest, size)
	}
	return a
}

// TestInterrupt: SIGINT ends a pull as a failure that says so, without leaving records.
func TestInterrupt(t *testing.T) {
	daemon := startContainerd(t)
	a, blob := publishBig(t, 1<<20)
	halfway := a.stallAt(blob.desc.Digest.String(), 1<<19)
	cmd := newNestctl(t, dockerConfig(t, a.logins, nil)).command(t, daemon.pull(a.ref)...)
	must(t, cmd.Start())
	<-halfway.reached
	must(t, cmd.Process.Signal(syscall.SIGINT))
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() == exitOK {
		t.Error("a pull that was interrupted ended well")
	}
	if images := daemon.images(t); len(images) > 0 {
		t.Errorf("records of a bundle that did not arrive: %q", images)
	}
}

// TestPullsAtOnce: two pulls of one bundle into one daemon do not get in each other's way.
func TestPullsAtOnce(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	var pulls sync.WaitGroup
	for range 2 {
		pulls.Go(func() {
			if out, err := client.command(t, daemon.pull(a.ref)...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	pulls.Wait()
	if images := daemon.images(t); len(images) != len(a.records()) {
		t.Errorf("images %q, want %q", images, a.records())
	}
	if printed := daemon.runImage(t, a.memberNames("org/app", a.bundle)[1]); !strings.HasPrefix(printed, "w") {
		t.Errorf("printed %q", printed)
	}
}
