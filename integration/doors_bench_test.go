package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkDoors prints what the same bundle of 20 members costs by each door: requests, connections (each a handshake
// where TLS is spoken) and tokens.
func BenchmarkDoors(b *testing.B) {
	bundle := newFleet(b)
	one := user{password: "canary", rights: pulls(repositories("org/app", bundle)...)}
	for _, name := range []string{"nestctl", "gateway", "plugin"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var connections atomic.Int64
				counted := func(s *httptest.Server) {
					s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
						if state == http.StateNew {
							connections.Add(1)
						}
					}
					s.Start()
				}
				a := publishAt(b, registryOptions{serve: counted}.start(b, startTokenServer(b, map[string]user{"dave": one})), bundle)
				logins := map[string]login{a.host: {"dave", one.password}}
				pull := pullBy(b, name, a, logins)
				a.requests()
				a.tokens.requests()
				connections.Store(0)
				pull()
				for kind, n := range tally(a.requests(), kindOf) {
					b.ReportMetric(float64(n), kind)
				}
				b.ReportMetric(float64(connections.Load()), "connections")
				b.ReportMetric(float64(len(a.tokens.requests())), "tokens")
			}
			b.ReportMetric(0, "ns/op") // what a pull takes is in BenchmarkFar
		})
	}
}

// kindOf is what a request is counted as.
func kindOf(r request) string {
	if r.Status == http.StatusUnauthorized {
		return "refused"
	}
	return r.Method + "-" + r.Kind
}

// pullBy prepares a pull into an empty containerd.
func pullBy(b *testing.B, door string, a *app, logins map[string]login) func() {
	b.Helper()
	if door == "plugin" {
		daemon := startInside(b, logins)
		return func() { daemon.ctr(b, "image", "pull", "--plain-http", a.ref) }
	}
	daemon := startContainerd(b)
	if door == "gateway" {
		g := startGateway(b, &app{registry: a.registry, logins: logins}, "node")
		return func() { daemon.pullHosts(b, transfer, g.certsD, a.ref) }
	}
	client := newNestctl(b, dockerConfig(b, logins, nil))
	return func() { client.run(b, daemon.pull(a.ref)...) }
}

// far is the time that a registry is away.
const far = 20 * time.Millisecond

// BenchmarkFar compares the pull of a bundle of 20 members by containerd with the plugin with what stock containerd
// needs for the same content as a plain index in one repository: the medians of pulls of one run that take turns.
func BenchmarkFar(b *testing.B) {
	bundle := newFleet(b)
	one := user{password: "canary", rights: pulls(repositories("org/app", bundle)...)}
	tokens := serveTokens(b, map[string]user{"dave": one}, away)
	a := publishAt(b, registryOptions{serve: away}.start(b, tokens), bundle)
	var nodes []node
	for _, m := range bundle.members {
		nodes = append(nodes, m.node)
	}
	a.pushNode(b, "org/app", "plain", newIndex(b, nodes...))

	logins := map[string]login{a.host: {"dave", one.password}}
	nested, stock := startInside(b, logins), startContainerd(b)
	var times [2][]time.Duration
	pulls := 0
	for b.Loop() {
		for range 5 {
			pulls++
			for i, pull := range []func(*containerd){
				func(c *containerd) { c.ctr(b, "image", "pull", "--plain-http", "--user", "dave:canary", a.ref) },
				func(c *containerd) {
					c.ctr(b, "image", "pull", "--plain-http", "--user", "dave:canary", a.registry.ref("org/app", "plain"))
				},
			} {
				daemon := []*containerd{nested, stock}[i].fresh(b, pulls)
				began := time.Now()
				pull(daemon)
				times[i] = append(times[i], time.Since(began))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(times[0]).Milliseconds()), "ms-nested")
	b.ReportMetric(float64(median(times[1]).Milliseconds()), "ms-stock")
	b.ReportMetric(float64(median(times[0]))/float64(median(times[1])), "ratio")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// fresh empties a daemon's store.
func (c *containerd) fresh(b *testing.B, round int) *containerd {
	b.Helper()
	for _, image := range c.images(b) {
		c.ctr(b, "images", "rm", image)
	}
	await(b, fmt.Sprintf("nothing is there before round %d", round), time.Minute, func() bool {
		c.collect(b)
		return len(c.blobs(b)) == 0
	})
	return c
}

// away starts a server that is far from those who ask.
func away(s *httptest.Server) {
	s.Listener = &distant{s.Listener}
	s.Start()
}

// distant is a listener whose connections take their time: half of it there, half of it back.
type distant struct{ net.Listener }

func (d *distant) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	near, link := net.Pipe()
	go carry(link, conn, far+far/2) // with the handshake
	go carry(conn, link, far/2)
	return &distantConn{near, conn}, nil
}

// distantConn has the addresses of the connection that it is an end of.
type distantConn struct {
	net.Conn
	of net.Conn
}

func (c *distantConn) RemoteAddr() net.Addr { return c.of.RemoteAddr() }
func (c *distantConn) LocalAddr() net.Addr  { return c.of.LocalAddr() }

// carry carries what it reads to the other side, where it arrives later. The first delay is that of the first bytes.
func carry(to io.WriteCloser, from io.Reader, first time.Duration) {
	type parcel struct {
		data []byte
		at   time.Time
	}
	way := make(chan parcel, 1024)
	go func() {
		defer close(way)
		delay := first
		for {
			buffer := make([]byte, 64<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				way <- parcel{buffer[:n], time.Now().Add(delay)}
				delay = far / 2
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	for p := range way {
		time.Sleep(time.Until(p.at))
		if _, err := to.Write(p.data); err != nil {
			for range way { // let the reader end
			}
			return
		}
	}
}
