package integration

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestAirgapMemory: a bundle of a thousand images goes into an archive in parts, and its update into one that leaves out what
// the first has, within 150 MiB.
func TestAirgapMemory(t *testing.T) {
	needs(t, "all")
	reg := registrytest.New()
	t.Cleanup(reg.Close)
	base := registrytest.TarLayer(map[string]string{"base": "of all"})
	release := func(tag string, changed int) string {
		var members []ocispec.Descriptor
		for i := range 1000 {
			name, text := fmt.Sprintf("m%d", i), fmt.Sprint(i)
			if i < changed {
				text += tag
			}
			members = append(members, registrytest.Member(reg.Image("org/app/"+name, base, registrytest.TarLayer(map[string]string{"own": text})), name))
		}
		reg.Tag("org/app", tag, reg.Index("org/app", members...).Digest)
		return reg.Host() + "/org/app:" + tag
	}
	client, dir := newNestctl(t, t.TempDir()), t.TempDir()
	first, second := "oci-archive:"+filepath.Join(dir, "v1.tar"), "oci-archive:"+filepath.Join(dir, "v2.tar")
	for _, args := range [][]string{
		{"--split", "100KiB", release("v1", 0), first},
		{"--since", first, release("v2", 10), second},
		{"--all", first, "oci-layout:" + filepath.Join(dir, "far")},
		{"--all", second, "oci-layout:" + filepath.Join(dir, "far")},
	} {
		if most := heldBy(t, client.command(t, append([]string{"copy", "--plain-http", "-q"}, args...)...)); most > 150<<20 || most == 0 {
			t.Errorf("copy %q held %d MiB", args, most>>20)
		}
	}
}

// heldBy runs a command, and returns how much memory it held at most.
func heldBy(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	context.AfterFunc(ctx, func() {
		if cmd.Process != nil && t.Context().Err() == nil {
			_ = cmd.Process.Kill()
		}
	})
	peak, done := make(chan int64), make(chan struct{})
	must(t, cmd.Start())
	go func() { peak <- peakMemory(cmd.Process.Pid, done) }()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v", cmd.Args, err)
	}
	close(done)
	most := <-peak
	t.Logf("%q held %d MiB", cmd.Args[4:], most>>20)
	return most
}
