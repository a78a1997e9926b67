package bench

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"
)

// startLinked starts a server behind a link.
func startLinked(t *testing.T, l *Link, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Listener = l.Listener(server.Listener)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, client *http.Client, url string) int64 {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestLinkDelays: a request over a new connection takes two round trips at least, over the same one another. Without a
// link there is nothing like it: the test fails for what takes too little, never for what takes too long.
func TestLinkDelays(t *testing.T) {
	t.Parallel()
	const trip = 50 * time.Millisecond
	var l Link
	l.Set(Speed{RoundTrip: trip})
	server := startLinked(t, &l, func(http.ResponseWriter, *http.Request) {})
	for _, least := range []time.Duration{2 * trip, trip} {
		began := time.Now()
		get(t, server.Client(), server.URL)
		if took := time.Since(began); took < least {
			t.Errorf("took %v, want at least %v", took, least)
		}
	}
	if got := l.Reset(); got.Connections != 1 || got.Handshakes != 0 || got.Received == 0 || got.Sent == 0 {
		t.Errorf("traffic %+v", got)
	}
}

// TestLinkShared: all connections together get no more than the bandwidth, but for what is in its queue.
func TestLinkShared(t *testing.T) {
	t.Parallel()
	const perSecond, each, connections = 8 << 20, 1 << 20, 4
	var l Link
	l.Set(Speed{BytesPerSecond: perSecond})
	server := startLinked(t, &l, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, each)) // who went away has seen an error
	})
	began := time.Now()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if n := get(t, client, server.URL); n != each {
				t.Errorf("%d bytes", n)
			}
		})
	}
	all.Wait()
	if took, least := time.Since(began), time.Second*connections*each/perSecond; took < least {
		t.Errorf("took %v, want at least %v", took, least)
	}
	if got := l.Reset(); got.Connections != connections || got.Received < connections*each {
		t.Errorf("traffic %+v", got)
	}
}

// TestLinkReset: no connection outlives it.
func TestLinkReset(t *testing.T) {
	t.Parallel()
	var l Link
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2, server.Listener = true, l.Listener(server.Listener)
	server.StartTLS()
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	get(t, server.Client(), server.URL)
	if got := l.Reset(); got.Connections != 2 || got.Handshakes != 1 {
		t.Errorf("traffic %+v", got)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is still there: %v", err)
	}
}
