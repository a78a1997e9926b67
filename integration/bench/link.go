package bench

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Speed is what a link is like. The zero value has no delay and no limit.
type Speed struct {
	RoundTrip      time.Duration
	BytesPerSecond int64 // in each direction, for all connections together; 0: as fast as the machine
}

// Traffic is what went over a link.
type Traffic struct {
	Connections, Handshakes int64 // handshakes of TLS
	Received, Sent          int64 // bytes as the client sees them: the answers, and what it asked
}

// Link lies between servers and their clients: every byte is half a round trip on its way, and all
// connections share the bandwidth. A connection is there one round trip after it was asked for. It may be
// used by several goroutines at once.
type Link struct {
	up, down queue
	traffic  struct{ connections, handshakes, received, sent atomic.Int64 }

	mu    sync.Mutex
	speed Speed
	conns map[net.Conn]bool
}

// Set makes the link another one, for what is sent from then on.
func (l *Link) Set(s Speed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.speed = s
	l.up.set(s.BytesPerSecond)
	l.down.set(s.BytesPerSecond)
}

// Reset closes all connections and returns the traffic since the last call.
func (l *Link) Reset() Traffic {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close() // the other end may have done it
	}
	t := &l.traffic
	return Traffic{t.connections.Swap(0), t.handshakes.Swap(0), t.received.Swap(0), t.sent.Swap(0)}
}

// Listener puts the link in front of a listener.
func (l *Link) Listener(of net.Listener) net.Listener { return &listener{of, l} }

type listener struct {
	net.Listener
	link *Link
}

func (n *listener) Accept() (net.Conn, error) {
	far, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n.link.traffic.connections.Add(1)
	near, end := net.Pipe()
	there := n.link.add(far)
	var ways sync.WaitGroup
	ways.Go(func() { n.link.carry(end, &greeting{far, n.link, false}, &n.link.up, &n.link.traffic.sent, there) })
	ways.Go(func() { n.link.carry(far, end, &n.link.down, &n.link.traffic.received, there) })
	go func() { ways.Wait(); n.link.remove(far) }()
	return &conn{near, far}, nil
}

// add returns the time from which the connection is there.
func (l *Link) add(far net.Conn) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[net.Conn]bool{}
	}
	l.conns[far] = true
	return time.Now().Add(l.speed.RoundTrip)
}

func (l *Link) remove(far net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, far)
}

func (l *Link) oneWay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.speed.RoundTrip / 2
}

// conn is the server's end. It has the addresses of the connection that it stands for.
type conn struct {
	net.Conn
	of net.Conn
}

func (c *conn) RemoteAddr() net.Addr { return c.of.RemoteAddr() }
func (c *conn) LocalAddr() net.Addr  { return c.of.LocalAddr() }

// greeting counts the connection when it begins with a TLS handshake.
type greeting struct {
	net.Conn
	link *Link
	over bool
}

const tlsHandshake = 22 // the content type in RFC 8446, section 5.1

func (g *greeting) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && !g.over {
		g.over = true
		if p[0] == tlsHandshake {
			g.link.traffic.handshakes.Add(1)
		}
	}
	return n, err
}

const (
	parcelSize = 32 << 10
	// onTheWay parcels are what a connection has on its way at most. A record of TLS is 16 KiB, so that
	// this is 16 MiB: more than 1 Gbit/s holds in 80 ms.
	onTheWay = 1024
)

type parcel struct {
	data []byte
	at   time.Time
}

var parcels = sync.Pool{New: func() any { return new([parcelSize]byte) }}

// carry carries what it reads to the other side, where it arrives later.
func (l *Link) carry(to io.WriteCloser, from io.Reader, q *queue, count *atomic.Int64, there time.Time) {
	way := make(chan parcel, onTheWay)
	go func() {
		defer close(way)
		for {
			buffer := parcels.Get().(*[parcelSize]byte)
			n, err := from.Read(buffer[:])
			if n > 0 {
				leaves := q.pass(n, there)
				way <- parcel{buffer[:n], leaves.Add(l.oneWay())}
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	for p := range way {
		time.Sleep(time.Until(p.at))
		n, err := to.Write(p.data)
		count.Add(int64(n))
		if err != nil {
			for range way { // let the reader end
			}
			return
		}
		parcels.Put((*[parcelSize]byte)(p.data[:parcelSize]))
	}
}

// queue is one direction of the link.
type queue struct {
	mu        sync.Mutex
	perSecond int64
	free      time.Time // when the link has sent all that was given to it
}

func (q *queue) set(perSecond int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.perSecond, q.free = perSecond, time.Time{}
}

// queued is for how long the link sends what its queue holds, as a router's does.
const queued = 30 * time.Millisecond

// pass returns when n bytes, given to the link now but not before a time, have left the queue. It waits
// until the queue has room for them.
func (q *queue) pass(n int, notBefore time.Time) time.Time {
	now := time.Now()
	if now.Before(notBefore) {
		now = notBefore
	}
	q.mu.Lock()
	if q.perSecond == 0 {
		q.mu.Unlock()
		return now
	}
	if q.free.Before(now) {
		q.free = now
	}
	q.free = q.free.Add(time.Duration(int64(n) * int64(time.Second) / q.perSecond))
	leaves := q.free
	q.mu.Unlock()
	if ahead := time.Until(leaves) - queued; ahead > 0 {
		time.Sleep(ahead)
	}
	return leaves
}
