package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// from is a connection from an address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.address), 1))
}

// TestConnectionsAreBounded: of too many connections that which has waited longest without a request goes, that of the same
// address when there are too many from it, and where all are busy the new one.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 8
	for name, test := range map[string]struct {
		addresses []string       // of connections, in their order; fewer repeat from the last
		states    map[int]string // "busy", or "idle" after a request; none: nothing was asked
		closed    map[int]bool
	}{
		"enough room":                       {[]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, nil, nil},
		"the one that waits longest":        {[]string{"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8", "1.0.0.9"}, map[int]string{0: "busy", 2: "idle"}, map[int]bool{1: true}},
		"idle for longest":                  {[]string{"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8", "1.0.0.9"}, map[int]string{0: "idle", 1: "busy", 2: "busy", 3: "busy", 4: "busy", 5: "busy", 6: "busy", 7: "busy"}, map[int]bool{0: true}},
		"all are busy":                      {[]string{"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "1.0.0.7", "1.0.0.8", "1.0.0.9"}, map[int]string{0: "busy", 1: "busy", 2: "busy", 3: "busy", 4: "busy", 5: "busy", 6: "busy", 7: "busy"}, map[int]bool{8: true}},
		"too many from one":                 {[]string{"1.0.0.2", "1.0.0.1", "1.0.0.1", "1.0.0.1", "1.0.0.1", "::ffff:1.0.0.1"}, nil, map[int]bool{1: true}},
		"too many from one, which are busy": {[]string{"1.0.0.2", "1.0.0.1", "1.0.0.1", "1.0.0.1", "1.0.0.1", "1.0.0.1"}, map[int]string{1: "busy", 2: "busy", 3: "busy", 4: "busy"}, map[int]bool{5: true}},
		"as many as they like from a proxy": {[]string{"1.0.0.2", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1"}, nil, nil},
		"too many, among them from a proxy": {[]string{"9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "9.0.0.1", "1.0.0.2"}, nil, map[int]bool{0: true}},
	} {
		var c connections
		c.limit(most, []netip.Prefix{netip.MustParsePrefix("9.0.0.0/8")})
		var ends []net.Conn
		for i, address := range test.addresses {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			ends = append(ends, theirs)
			conn := from{ours, address}
			c.watch(conn, http.StateNew)
			if test.states[i] != "" {
				c.watch(conn, http.StateActive)
			}
			if test.states[i] == "idle" {
				c.watch(conn, http.StateIdle)
			}
		}
		for i, end := range ends {
			_ = end.SetReadDeadline(time.Now()) // which one that is closed does not have
			_, err := end.Read(make([]byte, 1))
			if closed := errors.Is(err, io.EOF); closed != test.closed[i] {
				t.Errorf("%s: %d: %v", name, i, err)
			}
		}
	}
}

// TestConnectionsAreForgotten: however one ended, it counts no longer.
func TestConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	var c connections
	c.limit(2, nil)
	for range 3 {
		for _, then := range [][]http.ConnState{{http.StateClosed}, {http.StateActive, http.StateClosed}, {http.StateActive, http.StateIdle, http.StateClosed}, {http.StateActive, http.StateHijacked}} {
			conn, other := net.Pipe()
			defer other.Close()
			at := from{conn, "1.0.0.1"}
			for _, state := range append([]http.ConnState{http.StateNew}, then...) {
				c.watch(at, state)
			}
		}
	}
	select {
	case <-c.gone():
	default:
		t.Error("some are open still")
	}
	if len(c.open) != 0 || len(c.of) != 0 || c.waiting.Len() != 0 || c.strangers != 0 {
		t.Errorf("%d open, of %d addresses, %d waiting, %d strangers", len(c.open), len(c.of), c.waiting.Len(), c.strangers)
	}
}
