package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// env is what client programs need to ask the replicas.
func (r *replicas) env(t testing.TB) []string {
	t.Helper()
	ca := writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), r.certificate.ca)
	config := dockerConfig(t, map[string]login{r.host: r.who}, nil)
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "DOCKER_CONFIG=" + config, "SSL_CERT_FILE=" + ca}
}

// task is what one client does, which may be done again as a whole.
type task struct {
	name string
	do   func(ctx context.Context) error
}

// attempts is how often a client does the whole again: a kubelet and a CI job would do so more often.
const attempts = 3

// checkKill has eight clients at a time pull fifty times and push twenty times, by crane, oras and containerd's resolver,
// and kills the replica at an address in the middle. No task fails that is tried again, each pull is complete, and each
// push is there.
func (r *replicas) checkKill(t *testing.T, victim string, kill func()) {
	t.Helper()
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", newLayer(t, "own", randomBlob("", 2<<20).data))},
		member{"worker", newImage(t, amd64, "worker\n", newLayer(t, "own", randomBlob("", 2<<20).data))})
	r.registry.pushNode(t, "org/release", "v1", bundle)

	tasks, pushed := r.tasks(t)
	var began, again atomic.Int64
	next := make(chan task)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for one := range next {
				began.Add(1)
				again.Add(int64(one.run(t)))
			}
		})
	}
	all.Go(func() {
		defer close(next)
		for _, one := range tasks {
			next <- one
		}
	})
	await(t, "clients at the replica", time.Minute, func() bool { return began.Load() > 15 && r.connections(victim) >= 3 })
	t.Logf("killed with %d connections, after %d of %d had begun", r.connections(victim), began.Load(), len(tasks))
	kill()
	all.Wait()
	t.Logf("%d were done again", again.Load())
	for tag, check := range pushed {
		check(t, tag)
	}
}

// run does a task until it is done, and returns how often it was done again.
func (one task) run(t *testing.T) int {
	for i := range attempts {
		err := one.do(t.Context())
		if err == nil {
			return i
		}
		t.Logf("%s, attempt %d: %.1000v", one.name, i+1, err)
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("%s has failed", one.name)
	return attempts
}

// command is a task of a client program.
func (r *replicas) command(env []string, name string, args ...string) task {
	return task{name + " " + args[0], func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}}
}

// tasks are fifty pulls and twenty pushes, in mixed order, and what reports whether a tag was pushed.
func (r *replicas) tasks(t *testing.T) (tasks []task, pushed map[string]func(*testing.T, string)) {
	t.Helper()
	env, from, resolver := r.env(t), r.host+"/org/release:v1", r.containerdResolver(t)
	pushed = map[string]func(*testing.T, string){}
	for i := range 70 {
		to, tag := r.host+"/org/pushed:", fmt.Sprintf("v%d", i)
		dir := filepath.Join(t.TempDir(), "layout")
		switch kind := i % 7; {
		case kind < 2: // over what an attempt before has left
			tasks = append(tasks, r.command(env, "crane", "pull", "--format=oci", from, dir))
		case kind < 4:
			tasks = append(tasks, r.command(env, "oras", "cp", "--no-tty", "--to-oci-layout", from, dir+":v1"))
		case kind == 4:
			tasks = append(tasks, task{"containerd pull", func(ctx context.Context) error { return containerdPull(ctx, resolver, from, dir) }})
		case i%2 == 0:
			file := writeFile(t, filepath.Join(t.TempDir(), "layer.tgz"), string(newLayer(t, "own", randomBlob("", 1<<20).data).data))
			tasks = append(tasks, r.command(env, "crane", "append", "--new_layer", file, "--new_tag", to+tag))
			pushed[tag] = r.checkPushed
		default:
			image := newImage(t, amd64, tag, newLayer(t, "own", randomBlob("", 1<<20).data))
			tasks = append(tasks, task{"containerd push", func(ctx context.Context) error { return containerdPush(ctx, resolver, to+tag, image) }})
			pushed[tag] = r.checkPushed
		}
	}
	return tasks, pushed
}

// checkPushed checks that the registry has what a tag names, and all below it.
func (r *replicas) checkPushed(t *testing.T, tag string) {
	t.Helper()
	token := r.registry.tokens.adminToken(t, "org/pushed")
	got := r.registry.get(t, "/v2/org/pushed/manifests/"+tag, token)
	if got.status != http.StatusOK {
		t.Errorf("%s: status %d", tag, got.status)
		return
	}
	for _, d := range digestsIn(string(got.body)) {
		if blob := r.registry.get(t, "/v2/org/pushed/blobs/"+d.String(), token); blob.status != http.StatusOK || digest.FromBytes(blob.body) != d {
			t.Errorf("%s: %s: status %d", tag, d, blob.status)
		}
	}
}

func digestsIn(manifest string) (all []digest.Digest) {
	for _, rest := range strings.Split(manifest, `"digest":"`)[1:] {
		d, _, _ := strings.Cut(rest, `"`)
		all = append(all, digest.Digest(d))
	}
	return all
}
