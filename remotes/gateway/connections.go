package gateway

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

const (
	// maxStrangers bounds the connections that have asked for nothing yet, where
	// there is no bound for all: those of clients without a certificate among
	// them. Of more, the oldest is closed.
	maxStrangers = 256
	// fairShare is the part of all connections that one address may have, a half:
	// many clients have one address behind NAT, and one that takes all would shut
	// the others out.
	fairShare = 2
)

// connections are those that are open.
type connections struct {
	mu        sync.Mutex
	most      int // that may be open; 0: any number, of which maxStrangers have asked for nothing
	proxies   []netip.Prefix
	open      map[net.Conn]*connection
	of        map[netip.Addr]int // of an address
	waiting   list.List          // of *connection: those without a request, by the time since when
	strangers int                // in waiting
	empty     chan struct{}      // closed when none is open
}

// connection is one of them.
type connection struct {
	net.Conn
	address  netip.Addr
	stranger bool          // it has asked for nothing yet
	waits    *list.Element // nil while it has a request
}

// limit sets the bound.
func (c *connections) limit(most int, proxies []netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.proxies = most, proxies
}

// watch is told the states of connections, see [http.Server].ConnState.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	switch {
	case state == http.StateNew:
		c.add(conn)
	case known == nil: // was closed to make room
	case state == http.StateActive:
		c.unwait(known)
	case state == http.StateIdle:
		known.waits = c.waiting.PushBack(known)
	default:
		c.remove(known)
	}
}

// add adds a new connection, for which another one may have to go, or which is
// itself one too many. The caller holds the lock.
func (c *connections) add(conn net.Conn) {
	if c.open == nil {
		c.open, c.of = map[net.Conn]*connection{}, map[netip.Addr]int{}
	}
	added := &connection{Conn: conn, address: addressOf(conn), stranger: true}
	if !c.makeRoom(added) {
		cut(conn)
		return
	}
	c.strangers++
	c.open[conn] = added
	c.of[added.address]++
	added.waits = c.waiting.PushBack(added)
}

// makeRoom closes a connection that waits, if there are too many, and reports
// whether there is room. The caller holds the lock.
func (c *connections) makeRoom(added *connection) bool {
	switch {
	case c.most == 0 && c.strangers >= maxStrangers:
		c.closeFirst(func(old *connection) bool { return old.stranger })
	case c.most == 0:
	case c.of[added.address] >= max(1, c.most/fairShare) && !c.isProxy(added.address):
		return c.closeFirst(func(old *connection) bool { return old.address == added.address })
	case len(c.open) >= c.most:
		return c.closeFirst(func(*connection) bool { return true })
	}
	return true
}

// closeFirst closes that of the connections which has waited longest, and
// reports whether there is one. The caller holds the lock.
func (c *connections) closeFirst(of func(*connection) bool) bool {
	for e := c.waiting.Front(); e != nil; e = e.Next() {
		if old := e.Value.(*connection); of(old) {
			cut(old.Conn)
			c.remove(old)
			return true
		}
	}
	return false
}

// cut closes a connection, whose goroutine sees to the rest. TLS would say
// goodbye, which takes as long as the other end likes.
func cut(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// unwait takes a connection that has a request from those that wait. The caller
// holds the lock.
func (c *connections) unwait(old *connection) {
	if old.waits == nil {
		return
	}
	c.waiting.Remove(old.waits)
	old.waits = nil
	if old.stranger {
		old.stranger = false
		c.strangers--
	}
}

// remove forgets a connection. The caller holds the lock.
func (c *connections) remove(old *connection) {
	c.unwait(old)
	delete(c.open, old.Conn)
	if c.of[old.address]--; c.of[old.address] == 0 {
		delete(c.of, old.address)
	}
	if len(c.open) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

func (c *connections) isProxy(address netip.Addr) bool {
	for _, p := range c.proxies {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// addressOf is that of a connection's other end; the zero value when it has
// none.
func addressOf(conn net.Conn) netip.Addr {
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return remote.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// gone returns a channel that is closed when no connection is open.
func (c *connections) gone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := make(chan struct{})
	if len(c.open) == 0 {
		close(gone)
	} else {
		c.empty = gone
	}
	return gone
}
