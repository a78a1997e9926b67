package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// frontScene is a registry 20 ms away, with a bundle of 20 members at org/app, and at org/plain what clients without us
// need: a plain index of the same members. One user may read all of it.
func frontScene(b *testing.B) *execScene {
	b.Helper()
	var link bench.Link
	link.Set(bench.Speed{RoundTrip: 20 * time.Millisecond})
	who := login{"dave", "canary"}
	started := setRegistryEnv(b)
	s := newExecScene(b, registryOptions{serve: func(s *httptest.Server) {
		s.Listener, s.EnableHTTP2 = link.Listener(s.Listener), true
		s.StartTLS()
	}}, map[string]user{who.username: {password: who.password, rights: pulls(everyRepository)}}, map[string]login{execHost: who, serveHost: who})
	started()
	bundle := newCopyFleet(b, baseLayer(b))
	s.registry.pushNode(b, "org/app", "v1", bundle)
	var nodes []node
	for _, m := range bundle.members {
		nodes = append(nodes, m.node)
	}
	s.registry.pushNode(b, "org/plain", "v1", newIndex(b, nodes...))
	return s
}

// newServe has the front of a scene replaced by one that has seen nothing.
func (s *execScene) newServe(b *testing.B) {
	b.Helper()
	s.proxy.at[serveHost+":443"] = startServe(b, s.env, "--registry", serveHost+"="+execHost)
}

// ways are those to a registry, by what stands before the client's command, and the reference.
var ways = []struct{ name, prefix, ref string }{
	{"direct", "", execHost + "/org/plain:v1"},
	{"exec", "nestctl exec -- ", execHost + "/org/app:v1"},
	{"serve", "", serveHost + "/org/app:v1"},
	{"serve-again", "", serveHost + "/org/app:v1"}, // a front that has seen the bundle
}

// BenchmarkServePull prints what a pull through nestctl exec and nestctl serve takes, beside the same client's pull of the
// same content from one repository, as ratios of one run.
func BenchmarkServePull(b *testing.B) {
	s := frontScene(b)
	for client, command := range map[string]string{
		"oras":  "oras cp --no-tty --to-oci-layout REF DIR:v1",
		"crane": "crane pull --format=oci REF DIR",
	} {
		b.Run(client, func(b *testing.B) {
			var pulls []func() error
			for _, way := range ways {
				pulls = append(pulls, func() error {
					dir := filepath.Join(b.TempDir(), "layout")
					s.do(b, way.prefix+strings.NewReplacer("REF", way.ref, "DIR", dir).Replace(command))
					return nil
				})
			}
			times, requests := make([][]time.Duration, len(ways)), make([]int, len(ways))
			for range max(b.N, 5) {
				s.newServe(b)
				for i := range ways {
					s.registry.requests()
					s.registry.tokens.requests()
					began := time.Now()
					must(b, pulls[i]())
					times[i] = append(times[i], time.Since(began))
					requests[i] = len(s.registry.requests()) + len(s.registry.tokens.requests())
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, way := range ways {
				b.ReportMetric(median(times[i]).Seconds(), "s-"+way.name)
				b.ReportMetric(float64(requests[i]), "requests-"+way.name)
				if i > 0 {
					b.ReportMetric(float64(median(times[i]))/float64(median(times[0])), "ratio-"+way.name)
				}
			}
		})
	}
}

// asUser shows a credential with each request, as clients of a front do.
type asUser struct {
	http.RoundTripper
	username string
}

func (a asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(a.username, "canary")
	return a.RoundTripper.RoundTrip(r)
}

// BenchmarkServe prints what nestctl serve costs, as ratios of one run; see `make bench-serve`. The registry costs nothing.
func BenchmarkServe(b *testing.B) {
	user := &http.Client{Transport: asUser{untrusting, "dave"}}
	for _, link := range []struct {
		name      string
		perSecond int64
	}{{"1Gbit", gigabit}, {"unlimited", 0}} {
		b.Run("blob/"+link.name, func(b *testing.B) {
			const size = 1 << 30
			reg := startBigRegistry(b, size, link.perSecond)
			front, path := startReplica(b, reg.registry, newFrontCertificate(b, serveHost)), reg.blob("layer")
			bare := startBareProxy(b, reg)
			var pulls []func() error
			for _, at := range []string{"https://" + reg.host, "https://" + front.address, bare} {
				pulls = append(pulls, func() error { return download(b.Context(), user, at+path, size) })
			}
			before, rounds := front.cpu(b), max(b.N, 3)
			times := inTurns(b, rounds, pulls...)
			b.ReportMetric((front.cpu(b)-before).Seconds()/float64(rounds), "cpu-s/GiB")
			b.ReportMetric(float64(times[0])/float64(times[1]), "throughput-ratio")
			b.ReportMetric(float64(times[0])/float64(times[2]), "throughput-ratio-of-a-bare-proxy")
			b.ReportMetric(size/1e6/times[0].Seconds(), "direct-MB/s")
			b.ReportMetric(size/1e6/times[1].Seconds(), "serve-MB/s")
		})
	}
	b.Run("manifest", func(b *testing.B) {
		reg := startBigRegistry(b, 1, 0)
		front, path := startReplica(b, reg.registry, newFrontCertificate(b, serveHost)), "/v2/org/app/manifests/"+reg.manifest.String()
		bare := startBareProxy(b, reg)
		var pulls []func() error
		for _, at := range []string{"https://" + reg.host, "https://" + front.address, bare} {
			pulls = append(pulls, func() error { return download(b.Context(), user, at+path, all) })
		}
		times := inTurns(b, max(b.N, 2000), pulls...)
		through, bareProxy := times[1]-times[0], times[2]-times[0]
		b.ReportMetric(float64(through.Microseconds()), "µs-more")
		b.ReportMetric(float64(bareProxy.Microseconds()), "µs-more-of-a-bare-proxy")
		b.ReportMetric(float64(through)/float64(bareProxy), "ratio-to-a-bare-proxy")
	})
	for name, path := range map[string]func(*bigRegistry, int) string{
		"manifests": func(r *bigRegistry, _ int) string { return "/v2/org/app/manifests/" + r.manifest.String() },
		"blobs":     func(r *bigRegistry, i int) string { return r.blob(fmt.Sprint(i)) },
	} {
		b.Run("500-clients/"+name, func(b *testing.B) {
			reg := startBigRegistry(b, 1<<20, 0)
			front, bare := startReplica(b, reg.registry, newFrontCertificate(b, serveHost)), startBareProxy(b, reg)
			direct, served := newCrowd(b, 500, bare), newCrowd(b, 500, "https://"+front.address)
			ask := func(r *bigRegistry, i int) string { return path(r, i) }
			var rates [2][]float64
			var answers int64
			before := front.cpu(b)
			for range max(b.N, 5) {
				for i, c := range []*clientCrowd{direct, served} {
					rates[i] = append(rates[i], c.ask(b, 2*time.Second, func(i int) string { return ask(reg, i) }))
				}
				answers += served.answers.Load()
			}
			b.ReportMetric(float64((front.cpu(b)-before).Microseconds())/float64(answers), "cpu-µs/answer")
			b.ReportMetric(float64(peakOf(front.cmd.Process.Pid))/(1<<20), "MiB")
			bareRate, rate := medianRate(rates[0]), medianRate(rates[1])
			b.ReportMetric(rate/bareRate, "throughput-ratio-to-a-bare-proxy")
			b.ReportMetric(rate, "answers/s")
			b.ReportMetric(bareRate, "answers/s-of-a-bare-proxy")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// clientCrowd is clients at addresses of their own, each with a connection that it keeps.
type clientCrowd struct {
	at      string
	clients []*http.Client

	answers, refused, bytes atomic.Int64 // refused: to come again later
}

func newCrowd(t testing.TB, n int, at string) *clientCrowd {
	t.Helper()
	c := &clientCrowd{at: at}
	for i := range n {
		transport := untrusting.Clone()
		own := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(1+i%250))}
		transport.DialContext = (&net.Dialer{LocalAddr: own, Timeout: time.Minute}).DialContext
		t.Cleanup(transport.CloseIdleConnections)
		c.clients = append(c.clients, &http.Client{Transport: asUser{transport, "dave"}})
	}
	return c
}

// ask has all clients ask at once for a time, one thing after the other, and returns how many answers they got in a second.
func (c *clientCrowd) ask(t testing.TB, d time.Duration, path func(int) string) float64 {
	t.Helper()
	c.answers.Store(0)
	var all sync.WaitGroup
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), d+time.Minute)
	defer cancel()
	for i, client := range c.clients {
		all.Go(func() {
			for time.Since(began) < d {
				if err := download(ctx, client, c.at+path(i), 1<<62); err != nil {
					t.Error(err)
					return
				}
				c.answers.Add(1)
			}
		})
	}
	all.Wait()
	return float64(c.answers.Load()) / time.Since(began).Seconds()
}

// TestServeMemory: a hundred transfers of a layer of 1 GiB at once do not make a front hold more than 64 MiB, nor nestctl
// exec.
func TestServeMemory(t *testing.T) {
	needs(t, "all", "linux", "nestctl")
	reg := startBigRegistry(t, 1<<30, 0)
	front := startReplica(t, reg.registry, newFrontCertificate(t, serveHost))
	c := newCrowd(t, 100, "https://"+front.address)
	peak, done := make(chan int64), make(chan struct{})
	go func() { peak <- peakMemory(front.cmd.Process.Pid, done) }()
	var transfers sync.WaitGroup
	for i, client := range c.clients {
		transfers.Go(func() {
			if err := download(t.Context(), client, c.at+reg.blob(fmt.Sprint(i)), 16<<20); err != nil {
				t.Error(err)
			}
		})
	}
	transfers.Wait()
	close(done)
	most := <-peak
	if t.Logf("it held %d MiB", most>>20); most > 64<<20 {
		t.Errorf("it held %d MiB", most>>20)
	}
}

func medianRate(rates []float64) float64 {
	slices.Sort(rates)
	return rates[len(rates)/2]
}
