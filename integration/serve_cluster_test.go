package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// balancer hands connections to replicas by turns, as a Service does, and to the next one where one refuses them.
type balancer struct {
	net.Listener
	replicas []*replica
	next     atomic.Int64
	open     []atomic.Int64 // connections of each
}

func startBalancer(t testing.TB, replicas ...*replica) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b := &balancer{Listener: listener, replicas: replicas, open: make([]atomic.Int64, len(replicas))}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.carry(conn)
		}
	}()
	return b
}

func (b *balancer) host() string { return b.Addr().String() }

// carry carries a connection to the replica whose turn it is.
func (b *balancer) carry(client net.Conn) {
	defer client.Close()
	first := int(b.next.Add(1))
	for i := range b.replicas {
		n := (first + i) % len(b.replicas)
		server, err := net.DialTimeout("tcp", b.replicas[n].address, time.Second)
		if err != nil {
			continue
		}
		b.open[n].Add(1)
		defer b.open[n].Add(-1)
		var ways sync.WaitGroup
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			ways.Go(func() {
				_, _ = io.Copy(way[0], way[1]) // whoever goes first ends both
				_, _ = way[0].Close(), way[1].Close()
			})
		}
		ways.Wait()
		return
	}
}

// replicas are fronts of one registry behind a balancer, and a user of all of its repositories.
type replicas struct {
	*balancer
	registry    *registry
	certificate frontCertificate
	who         login
}

// startReplicas starts two with one seal key. What the registry sends is so many bytes in a second at most.
func startReplicas(t testing.TB, perSecond int64, flags ...string) *replicas {
	t.Helper()
	r := &replicas{who: login{"dave", "canary"}, certificate: newFrontCertificate(t, "bundles.example.com")}
	tokens := startTokenServer(t, map[string]user{r.who.username: {password: r.who.password, rights: pushes(everyRepository)}})
	r.registry = registryOptions{serve: func(s *httptest.Server) {
		s.Listener = &limitedListener{s.Listener, &limiter{perSecond: perSecond}}
		s.Start()
	}}.start(t, tokens)
	flags = append([]string{"--seal-key", sealKey(t)}, flags...)
	r.balancer = startBalancer(t, startReplica(t, r.registry, r.certificate, flags...), startReplica(t, r.registry, r.certificate, flags...))
	return r
}

// env is what client programs need to ask the replicas.
func (r *replicas) env(t testing.TB) []string {
	t.Helper()
	ca := writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), r.certificate.ca)
	config := dockerConfig(t, map[string]login{r.host(): r.who}, nil)
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "DOCKER_CONFIG=" + config, "SSL_CERT_FILE=" + ca}
}

// task is what one client does, which may be done again as a whole.
type task struct {
	name string
	do   func(ctx context.Context) error
}

// attempts is how often a client does the whole again: a kubelet and a CI job would do so more often.
const attempts = 3

// TestServeReplicas: of two replicas behind a balancer one is killed during fifty pulls and twenty pushes by crane, oras and
// containerd's resolver. None fails that is tried again, each pull is complete, and each push is there.
func TestServeReplicas(t *testing.T) {
	needs(t, "nestctl", "crane", "oras")
	r := startReplicas(t, 60<<20)
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", newLayer(t, "own", randomBlob("", 2<<20).data))},
		member{"worker", newImage(t, amd64, "worker\n", newLayer(t, "own", randomBlob("", 2<<20).data))})
	r.registry.pushNode(t, "org/app", "v1", bundle)

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
	await(t, "clients at the replica", time.Minute, func() bool { return began.Load() > 15 && r.open[0].Load() >= 3 })
	t.Logf("killed with %d connections, after %d of %d had begun", r.open[0].Load(), began.Load(), len(tasks))
	_ = r.replicas[0].cmd.Process.Kill()
	all.Wait()
	t.Logf("%d were done again", again.Load())
	if !r.replicas[0].ended() {
		t.Error("it was not killed, so that nothing is shown")
	}
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
	env, from, resolver := r.env(t), r.host()+"/org/app:v1", r.containerdResolver(t)
	pushed = map[string]func(*testing.T, string){}
	for i := range 70 {
		to, tag := r.host()+"/org/pushed:", fmt.Sprintf("v%d", i)
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

// TestServeUploads: an upload that one replica has begun goes on at another one, also while the seal key is exchanged. One
// with another key, or with none, says what they have to share.
func TestServeUploads(t *testing.T) {
	needs(t, "nestctl")
	first, second := sealKey(t), sealKey(t)
	who, certificate := login{"dave", "canary"}, newFrontCertificate(t, "bundles.example.com")
	reg := startRegistry(t, startTokenServer(t, map[string]user{who.username: {password: who.password, rights: pushes("org/app")}}))
	start := func(keys ...string) *uploader {
		var flags []string
		for _, key := range keys {
			flags = append(flags, "--seal-key", key)
		}
		r := startReplica(t, reg, certificate, flags...)
		return &uploader{"https://" + r.address, certificate.client(t, ""), who}
	}
	before, after, neither, other := start(first, second), start(second, first), start(), start(sealKey(t))

	at := before.ask(t, http.MethodPost, "/v2/org/app/blobs/uploads/", "", http.StatusAccepted).location
	at = after.ask(t, http.MethodPatch, at, "hello, ", http.StatusAccepted).location
	for _, stranger := range []*uploader{neither, other} {
		if got := stranger.ask(t, http.MethodPatch, at, "world", http.StatusNotFound); !strings.Contains(got.body, "BLOB_UPLOAD_UNKNOWN") || !strings.Contains(got.body, "seal_keys") {
			t.Errorf("it says %s", got.body)
		}
	}
	at = before.ask(t, http.MethodPatch, at, "world", http.StatusAccepted).location
	rolled := start(second) // the first is gone
	at = after.ask(t, http.MethodGet, at, "", http.StatusNoContent).location
	rolled.ask(t, http.MethodPut, at+"?digest="+digest.FromString("hello, world").String(), "", http.StatusCreated)
}

// uploader asks one replica.
type uploader struct {
	url    string
	client *http.Client
	who    login
}

type uploaderAnswer struct{ location, body string }

func (u *uploader) ask(t *testing.T, method, path, body string, want int) uploaderAnswer {
	t.Helper()
	at, err := url.JoinPath(u.url, strings.SplitN(path, "?", 2)[0])
	must(t, err)
	if _, query, ok := strings.Cut(path, "?"); ok {
		at += "?" + query
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	must(t, err)
	req.SetBasicAuth(u.who.username, u.who.password)
	resp, err := u.client.Do(req)
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	return uploaderAnswer{resp.Header.Get("Location"), string(text)}
}
