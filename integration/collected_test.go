package integration

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// collecting is the part of a daemon's configuration with which it collects garbage as often as it can.
const collecting = `[plugins."io.containerd.gc.v1.scheduler"]
pause_threshold = 0.5
deletion_threshold = 1
mutation_threshold = 1
schedule_delay = "0s"
startup_delay = "0s"
`

// TestCollected: 50 pulls by each door, and removals, while containerd collects garbage as often as it can and
// `ctr content prune` takes the layers of unpacked images away. No pull fails, and what was pulled runs. Nobody fetches a
// layer again that is unpacked; once the images are removed the next pull brings everything.
func TestCollected(t *testing.T) {
	needs(t, "all")
	base := baseLayer(t)
	a := publish(t, newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"worker", newImage(t, amd64, "worker\n", base)}))
	client, certsD := newNestctl(t, dockerConfig(t, a.logins, nil)), startGateway(t, a, "node").certsD
	stock := startDaemon(t, newest, func(string) string { return collecting }, criPlugins...)
	inside, web := startInside(t, a.logins, collecting), a.records()[0]
	for _, d := range []struct {
		name    string
		daemon  *containerd
		records []string
		runs    string
		pull    func(in *containerd) *exec.Cmd
	}{
		{"nestctl", stock, a.records(), web, func(in *containerd) *exec.Cmd { return client.command(t, in.pull(a.ref)...) }},
		{"gateway", stock, []string{a.ref}, a.ref, func(in *containerd) *exec.Cmd { return in.command(t, "image", "pull", "--hosts-dir", certsD, a.ref) }},
		{"plugin", inside, a.records(), web, func(in *containerd) *exec.Cmd { return in.command(t, "image", "pull", "--plain-http", a.ref) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			namespaces := make([]*containerd, 5)
			for i := range namespaces {
				namespaces[i] = d.daemon.in(fmt.Sprintf("%s%d", d.name, i))
			}
			end := prune(t, namespaces)
			pullMany(t, namespaces, a.ref, d.pull)
			end()
			for _, in := range namespaces {
				runCommand(t, d.pull(in))
				if got := in.runImage(t, d.runs); got != "web\n" {
					t.Errorf("printed %q", got)
				}
				in.ctr(t, append([]string{"images", "rm", "--sync"}, in.images(t)...)...)
				runCommand(t, d.pull(in))
				if bad := in.incomplete(t); bad != nil {
					t.Errorf("images check: %q", bad)
				}
				if images := slices.Sorted(slices.Values(in.images(t))); !slices.Equal(images, d.records) {
					t.Errorf("images %q", images)
				}
			}
		})
	}
}

// pullMany pulls 50 times, 8 at a time, and removes every third image.
func pullMany(t *testing.T, namespaces []*containerd, ref string, pull func(in *containerd) *exec.Cmd) {
	t.Helper()
	var pulls sync.WaitGroup
	limit := make(chan struct{}, 8)
	for i := range 50 {
		pulls.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			in := namespaces[i%len(namespaces)]
			if out, err := pull(in).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if i%3 == 0 {
				if out, err := in.command(t, "image", "rm", ref).CombinedOutput(); err != nil && !strings.Contains(string(out), "not found") {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
	}
	pulls.Wait()
}

// prune takes layers of unpacked images out of the content store again and again, until its end is called.
func prune(t *testing.T, namespaces []*containerd) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done, pruned := make(chan struct{}), 0
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			out, err := namespaces[i%len(namespaces)].command(t, "content", "prune", "references").CombinedOutput()
			switch {
			case err == nil:
				pruned++
			case !strings.Contains(string(out), "not found"): // what it has found was collected
				t.Errorf("%v\n%s", err, out)
			}
		}
	}()
	return func() {
		cancel()
		<-done
		if pruned == 0 {
			t.Error("nothing was pruned")
		}
	}
}
