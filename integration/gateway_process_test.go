package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestGatewayReplaced: with a socket that outlives it, as systemd holds one, the gateway is replaced under 50 pulls,
// none of which fails.
func TestGatewayReplaced(t *testing.T) {
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	g.inherit(t)
	g.boot(t)

	over := g.pulls(t, a.ref)
	for range 3 {
		g.stop(t)
		if code := g.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit status %d", code)
		}
		g.boot(t)
	}
	<-over
}

// pulls starts 50 pulls into two daemons, none of which may fail. The channel is closed when all have ended.
func (g *gatewayProcess) pulls(t *testing.T, ref string) <-chan struct{} {
	t.Helper()
	daemons := []*containerd{startContainerd(t), startContainerd(t)}
	var all sync.WaitGroup
	over := make(chan struct{})
	for i := range 50 {
		daemon := daemons[i%2].in(fmt.Sprintf("test%d", i))
		all.Go(func() {
			if out, err := daemon.tryPullHosts(t, transfer, g.certsD, ref); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	go func() { all.Wait(); close(over) }()
	return over
}

// inherit gives the gateway's listening socket to its next processes, as systemd does.
func (g *gatewayProcess) inherit(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", g.address)
	must(t, err)
	g.socket, err = listener.(*net.TCPListener).File()
	must(t, err)
	must(t, listener.Close())
	t.Cleanup(func() { _ = g.socket.Close() })
}

// TestGatewayHandover: gateways that hand their sockets over are replaced under 50 pulls, none of which fails: the next
// one serves before the one before is told to end, and has metrics and health to itself from then on.
func TestGatewayHandover(t *testing.T) {
	needs(t, "linux")
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	observed := freeAddress(t)
	text := readText(t, g.config) + fmt.Sprintf("metrics_address = %q\ngrace = \"20s\"\n", observed)
	next := func(i int) *process {
		t.Helper()
		config := filepath.Join(g.root, fmt.Sprintf("config%d.toml", i))
		state := filepath.Join(g.root, "state") // a location cache is one gateway's
		writeFile(t, config, strings.Replace(text, state, fmt.Sprint(state, i), 1))
		p := start(t, "nestctl", "gateway", "--config", config, "--handover", "nested-test"+g.root)
		p.await(t, func() bool { return strings.Contains(readText(t, p.log), "serving ") })
		return p
	}
	current := next(0)

	over := g.pulls(t, a.ref)
	for i := range 3 {
		later := next(i + 1)
		current.stop(t)
		if code := current.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit status %d", code)
		}
		current = later
		status, _, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+observed+"/readyz")
		if err != nil || status != http.StatusOK {
			t.Errorf("/readyz: %d, %v", status, err)
		}
	}
	<-over
	current.stop(t)
	if _, _, err := g.get(t, "/v2/"); err == nil {
		t.Error("somebody listens after the last gateway's end")
	}
}

// TestGatewayEnds: after SIGTERM a transfer that runs goes on to its end.
func TestGatewayEnds(t *testing.T) {
	reg := startBigRegistry(t, 64<<20, 64<<20) // a second
	g := startGateway(t, reg.app, "node")
	client, begun := g.through(t), make(chan struct{})
	result := make(chan error)
	go func() {
		result <- download(t.Context(), &http.Client{Transport: announcing{client.Transport, begun}}, "https://"+g.address+reg.blob("layer")+"?ns="+reg.host, reg.size)
	}()
	<-begun
	must(t, g.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-g.done
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestGatewayEndsUnderPull: containerd, to which a layer is on its way when the gateway is told to end, gets all of it, and
// its pull succeeds.
func TestGatewayEndsUnderPull(t *testing.T) {
	daemon := startContainerd(t)
	a, blob := publishBig(t, bigSize)
	g := startGateway(t, a, "node")
	reached, told := make(chan struct{}), make(chan struct{})
	a.replace(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if line := parseRequest(r); line.Kind == "blobs" && line.Reference == blob.desc.Digest.String() && line.Authorized {
				w = &pausedWriter{ResponseWriter: w, after: bigSize / 2, reached: reached, told: told}
			}
			next.ServeHTTP(w, r)
		})
	})
	result := make(chan error)
	go func() {
		out, err := daemon.tryPullHosts(t, transfer, g.certsD, a.ref)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		result <- err
	}()
	<-reached
	must(t, g.cmd.Process.Signal(syscall.SIGTERM))
	await(t, "the gateway takes no more connections", 10*time.Second, func() bool {
		conn, err := net.DialTimeout("tcp", g.address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(told)
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-g.done
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if !slices.Contains(daemon.blobs(t), blob.desc.Digest.String()) {
		t.Error("the blob did not arrive")
	}
}

// pausedWriter waits in the middle of an answer.
type pausedWriter struct {
	http.ResponseWriter
	after, sent   int64
	reached, told chan struct{}
}

func (w *pausedWriter) Write(data []byte) (int, error) {
	n, err := w.ResponseWriter.Write(data)
	if before := w.sent; before < w.after && before+int64(n) >= w.after {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // the client may have gone already
		close(w.reached)
		<-w.told
	}
	w.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (w *pausedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// announcing says when the headers of an answer are there.
type announcing struct {
	next  http.RoundTripper
	begun chan struct{}
}

func (a announcing) RoundTrip(req *http.Request) (*http.Response, error) {
	defer close(a.begun)
	return a.next.RoundTrip(req)
}

// TestGatewayFlood: connections that ask for nothing take no room from those that do.
func TestGatewayFlood(t *testing.T) {
	needs(t, "linux")
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	var idle []net.Conn
	t.Cleanup(func() {
		for _, conn := range idle {
			_ = conn.Close()
		}
	})
	for range 10_000 {
		conn, err := net.DialTimeout("tcp", g.address, 5*time.Second)
		must(t, err)
		idle = append(idle, conn)
	}
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
	fds, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(g.cmd.Process.Pid), "fd"))
	must(t, err)
	if len(fds) > 400 {
		t.Errorf("%d files are open", len(fds))
	}
	if status, _, err := g.get(t, "/v2/org/app/manifests/"+strings.Repeat("x", 1<<20)); err == nil && status < 400 {
		t.Errorf("a path of 1 MiB: %d", status)
	}
}

// TestGatewayObserved: metrics and health are on a listener of their own, systemd is told of the start and the end, and
// neither metrics, nor the log at its most talkative, nor state or arguments hold a secret.
func TestGatewayObserved(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	observed, notices := freeAddress(t), notifySocket(t, filepath.Join(tempDir(t), "notify"))
	writeFile(t, g.config, readText(t, g.config)+fmt.Sprintf("metrics_address = %q\n[log]\nlevel = \"debug\"\n", observed))
	g.boot(t)
	if got := notices(); got != "READY=1" {
		t.Errorf("systemd is told %q", got)
	}
	daemon.pullHosts(t, transfer, g.certsD, a.ref)

	get := func(path string) string {
		t.Helper()
		status, body, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+observed+path)
		must(t, err)
		if status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		return body
	}
	get("/healthz")
	get("/readyz")
	metrics := get("/metrics")
	for _, line := range []string{
		`nested_requests_total{door="gateway",kind="manifests",status="200"}`, `nested_upstream_requests_total{kind="blobs"}`,
		"nested_tokens_total 3", "nested_child_hops_total", "nested_sent_bytes_total", "nested_upstream_bytes_total",
		"nested_helper_runs_total 0", "nested_helper_seconds_total 0", "nested_trail_bytes",
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s in the metrics", line)
		}
	}
	state, err := os.ReadFile(onlyFile(t, filepath.Join(g.root, "state", "*")))
	must(t, err)
	arguments, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(g.cmd.Process.Pid), "cmdline"))
	must(t, err)
	if len(arguments) == 0 || leaks(metrics+readText(t, g.log)+string(arguments)+string(state)) {
		t.Error("a secret was shown")
	}
	must(t, g.cmd.Process.Signal(syscall.SIGTERM))
	if got := notices(); got != "STOPPING=1" {
		t.Errorf("systemd is told %q", got)
	}
}

// notifySocket is where a service manager listens; what it is told is returned one by one. A name with @ is an abstract
// socket's.
func notifySocket(t *testing.T, path string) func() string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		buffer := make([]byte, 1024)
		n, err := conn.Read(buffer)
		must(t, err)
		return string(buffer[:n])
	}
}
