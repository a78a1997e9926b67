package intercept

import (
	"net"
	"sync"
)

// limit lets so many connections of a listener be open at once; more wait to be accepted.
func limit(listener net.Listener, most int) net.Listener {
	return &limited{Listener: listener, open: make(chan struct{}, most), done: make(chan struct{})}
}

type limited struct {
	net.Listener
	open  chan struct{}
	done  chan struct{}
	close sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{TCPConn: conn.(*net.TCPConn), release: sync.OnceFunc(func() { <-l.open })}, nil
}

func (l *limited) Close() error {
	l.close.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// limitedConn is a TCP connection, so that the kernel copies from and to it.
type limitedConn struct {
	*net.TCPConn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

// handed is a listener for connections that are there already.
type handed struct {
	address net.Addr
	conns   chan net.Conn
	done    chan struct{}
	close   sync.Once
}

func newHanded(address net.Addr) *handed {
	return &handed{address: address, conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand gives a connection to the one who accepts; false when nobody does any more.
func (h *handed) hand(conn net.Conn) bool {
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
		return false
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.close.Do(func() { close(h.done) })
	return nil
}

func (h *handed) Addr() net.Addr { return h.address }
