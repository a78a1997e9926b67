package integration

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// bigRegistry has any blob, of one size and of zeros, and one manifest, for everybody, over TLS. It is there for
// measurements: distribution's own registry would be what is measured.
type bigRegistry struct {
	*app
	size     int64
	manifest digest.Digest
	client   *http.Client
}

// startBigRegistry starts one whose connections together send at most so many bytes in a second, or without a limit.
func startBigRegistry(t testing.TB, size, bytesPerSecond int64) *bigRegistry {
	t.Helper()
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}`)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", digest.FromBytes(manifest).String())
			_, _ = w.Write(manifest) // whoever went away is not measured
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		_, _ = io.CopyN(w, zeros{}, size) // the same
	}))
	server.Config.ErrorLog = quiet
	server.Listener = &limitedListener{server.Listener, &limiter{perSecond: bytesPerSecond}}
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	_, host, _ := strings.Cut(server.URL, "://")
	a := &app{registry: &registry{host: host, scheme: "https", caFile: writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), ca)}}
	return &bigRegistry{a, size, digest.FromBytes(manifest), server.Client()}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// limiter is a link that several connections share.
type limiter struct {
	perSecond int64
	mu        sync.Mutex
	free      time.Time // when the link has sent all that was given to it
}

// queued is for how long the link can send what its queue holds.
const queued = 30 * time.Millisecond

// take waits until the link's queue has room for n bytes more.
func (l *limiter) take(n int) {
	if l.perSecond == 0 {
		return
	}
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(int64(n) * int64(time.Second) / l.perSecond))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	if ahead := wait - queued; ahead > 0 {
		time.Sleep(ahead)
	}
}

type limitedListener struct {
	net.Listener
	link *limiter
}

func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return limitedConn{conn, l.link}, nil
}

type limitedConn struct {
	net.Conn
	link *limiter
}

func (c limitedConn) Write(p []byte) (int, error) {
	c.link.take(len(p))
	return c.Conn.Write(p)
}

// all is the whole of an answer, so that its connection is used again.
const all = 1 << 62

// download reads the first bytes of an answer.
func download(ctx context.Context, client *http.Client, url string, bytes int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // for the message only
		return fmt.Errorf("%s: %s %s", url, resp.Status, text)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, bytes))
	return err
}

func (r *bigRegistry) blob(name string) string {
	return "/v2/org/app/blobs/" + digest.FromString(name).String()
}

// TestGatewayMemory: a hundred transfers of a layer of 1 GiB at once do not make the gateway hold more than 64 MiB.
func TestGatewayMemory(t *testing.T) {
	needs(t, "all", "linux")
	reg := startBigRegistry(t, 1<<30, 0)
	g := startGateway(t, reg.app, "node")
	client := g.through(t)
	peak, done := make(chan int64), make(chan struct{})
	go func() { peak <- peakMemory(g.cmd.Process.Pid, done) }()
	var transfers sync.WaitGroup
	for i := range 100 {
		transfers.Go(func() {
			if err := download(t.Context(), client, "https://"+g.address+reg.blob(fmt.Sprint(i))+"?ns="+reg.host, 16<<20); err != nil {
				t.Error(err)
			}
		})
	}
	transfers.Wait()
	close(done)
	if most := <-peak; most > 64<<20 {
		t.Errorf("it held %d MiB", most>>20)
	} else {
		t.Logf("it held %d MiB", most>>20)
	}
}

// BenchmarkGateway prints what the gateway costs, as ratios of one run; see `make bench-gateway`.
func BenchmarkGateway(b *testing.B) {
	const size = 1 << 30
	for _, link := range []struct {
		name      string
		perSecond int64
	}{{"1Gbit", 1e9 / 8}, {"unlimited", 0}} {
		b.Run("blob/"+link.name, func(b *testing.B) {
			reg := startBigRegistry(b, size, link.perSecond)
			g := startGateway(b, reg.app, "node")
			client, path := g.through(b), reg.blob("layer")
			times := inTurns(b, max(b.N, 3),
				func() error { return download(b.Context(), reg.client, "https://"+reg.host+path, size) },
				func() error { return download(b.Context(), client, "https://"+g.address+path+"?ns="+reg.host, size) })
			direct, through := times[0], times[1]
			b.ReportMetric(float64(direct)/float64(through), "throughput-ratio")
			b.ReportMetric(size/1e6/direct.Seconds(), "direct-MB/s")
			b.ReportMetric(size/1e6/through.Seconds(), "gateway-MB/s")
		})
	}
	for _, transfers := range []int{1, 100} {
		b.Run(fmt.Sprintf("cpu/%d", transfers), func(b *testing.B) {
			reg := startBigRegistry(b, size, 0)
			g := startGateway(b, reg.app, "node")
			client, each := g.through(b), int64(4*size/transfers)
			before := cpuTime(b, g.cmd.Process.Pid)
			var all sync.WaitGroup
			for i := range transfers {
				all.Go(func() {
					if err := download(b.Context(), client, "https://"+g.address+reg.blob(fmt.Sprint(i))+"?ns="+reg.host, min(each, size)); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
			spent := cpuTime(b, g.cmd.Process.Pid) - before
			b.ReportMetric(spent.Seconds()/(float64(min(each, size))*float64(transfers)/(1<<30)), "cpu-s/GiB")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("manifest", func(b *testing.B) {
		reg := startBigRegistry(b, 1, 0)
		g := startGateway(b, reg.app, "node")
		client, bare, through, path := g.through(b), &http.Client{Transport: untrusting}, startBareProxy(b, reg), "/v2/org/app/manifests/"+reg.manifest.String()
		times := inTurns(b, max(b.N, 1000),
			func() error { return download(b.Context(), reg.client, "https://"+reg.host+path, all) },
			func() error { return download(b.Context(), client, "https://"+g.address+path+"?ns="+reg.host, all) },
			func() error { return download(b.Context(), bare, through+path, all) })
		b.ReportMetric(float64(times[1])/float64(times[0]), "time-ratio")
		b.ReportMetric(float64((times[1] - times[0]).Microseconds()), "µs-more")
		b.ReportMetric(float64((times[2] - times[0]).Microseconds()), "µs-more-of-a-bare-proxy")
	})
}

// cpuTime is what a process has spent, in hundredths of a second (proc_pid_stat(5)).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	_, fields, found := strings.Cut(readText(b, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	if !found {
		b.Fatal("no fields")
	}
	var ticks time.Duration
	for _, field := range strings.Fields(fields)[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		must(b, err)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// inTurns does several things by turns, and returns the medians of their times.
func inTurns(b *testing.B, rounds int, things ...func() error) []time.Duration {
	times := make([][]time.Duration, len(things))
	for range rounds {
		for i, do := range things {
			start := time.Now()
			if err := do(); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(start))
		}
	}
	medians := make([]time.Duration, len(things))
	for i := range times {
		medians[i] = median(times[i])
	}
	return medians
}
