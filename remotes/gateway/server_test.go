package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that their deadlines are those of the test's time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes { return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.accepted <- server
	return client
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestSlowClientsAreDisconnected: who takes too long with its headers, sends too many, or asks for nothing, is hung up on; others are
// answered meanwhile.
func TestSlowClientsAreDisconnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), "", "")
		served := make(chan error)
		go func() { served <- s.http.Serve(listener) }()
		hungUp := func(conn net.Conn) time.Duration {
			began := time.Now()
			_, _ = io.Copy(io.Discard, conn)
			return time.Since(began)
		}
		slow := listener.dial()
		go func() {
			for _, b := range []byte("GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 1000)) {
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if took := hungUp(slow); took > headerTimeout+time.Second {
			t.Errorf("headers at a byte a second: hung up after %v", took)
		}
		large := listener.dial()
		go func() {
			_, _ = io.WriteString(large, "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "+strings.Repeat("x", 1<<20))
		}()
		answer, _ := io.ReadAll(large)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
			t.Errorf("headers of 1 MiB: %.100q", answer)
		}
		idle := listener.dial()
		if took := hungUp(idle); took > headerTimeout+time.Second {
			t.Errorf("nothing: hung up after %v", took)
		}
		good := listener.dial()
		go func() { _, _ = io.WriteString(good, "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") }()
		first := make([]byte, 12)
		if _, err := io.ReadFull(good, first); err != nil || string(first) != "HTTP/1.1 204" {
			t.Errorf("a good one: %q, %v", first, err)
		}
		if took := hungUp(good); took < idleTimeout-time.Second || took > idleTimeout+time.Second {
			t.Errorf("after an answer: hung up after %v", took)
		}
		for _, conn := range []net.Conn{slow, large, idle, good} {
			_ = conn.Close()
		}
		_ = s.http.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// TestStrangersGiveWay: of those who have connected and asked for nothing, the first has to go when there are too many; who
// has asked stays.
func TestStrangersGiveWay(t *testing.T) {
	var c connections
	var ends []net.Conn
	for range maxStrangers + 2 {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		ends = append(ends, theirs)
		c.watch(ours, http.StateNew)
		if len(ends) == 1 {
			c.watch(ours, http.StateActive)
		}
	}
	for i, end := range ends {
		_ = end.SetReadDeadline(time.Now()) // which one that is closed does not have
		_, err := end.Read(make([]byte, 1))
		if closed := errors.Is(err, io.EOF); closed != (i == 1) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestStalledReaderIsDisconnected: who takes nothing of an answer any more is given up in time.
func TestStalledReaderIsDisconnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener, took := newPipes(), make(chan time.Duration, 1)
		s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			a, began := &paced{w, http.NewResponseController(w)}, time.Now()
			for err := error(nil); err == nil && time.Since(began) < time.Hour; {
				_, err = a.Write(make([]byte, 64<<10))
			}
			took <- time.Since(began)
		}), "", "")
		served := make(chan error)
		go func() { served <- s.http.Serve(listener) }()
		conn := listener.dial()
		_, _ = io.WriteString(conn, "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		select {
		case d := <-took:
			if d > stallTimeout+time.Second {
				t.Errorf("after %v", d)
			}
		case <-time.After(time.Hour):
			t.Error("never")
		}
		_ = conn.Close()
		_ = s.http.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
