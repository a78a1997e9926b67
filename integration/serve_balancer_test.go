package integration

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// balancer hands connections to replicas by turns, as a Service does, and to the next one where one refuses them.
type balancer struct {
	net.Listener

	mu       sync.Mutex
	replicas []string // addresses
	turn     int
	open     map[string]int // connections by address
}

func startBalancer(t testing.TB, address string, replicas ...string) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	must(t, err)
	b := &balancer{Listener: listener, replicas: replicas, open: map[string]int{}}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.carry(conn)
		}
	}()
	return b
}

// balance exchanges the replicas for new connections.
func (b *balancer) balance(replicas []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas = replicas
}

// balanced are the replicas, beginning with the one whose turn it is.
func (b *balancer) balanced() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.replicas) == 0 {
		return nil
	}
	b.turn++
	first := b.turn % len(b.replicas)
	return slices.Concat(b.replicas[first:], b.replicas[:first])
}

func (b *balancer) connections(replica string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open[replica]
}

func (b *balancer) count(replica string, more int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[replica] += more
}

// carry carries a connection to the replica whose turn it is.
func (b *balancer) carry(client net.Conn) {
	defer client.Close()
	for _, replica := range b.balanced() {
		server, err := net.DialTimeout("tcp", replica, time.Second)
		if err != nil {
			continue
		}
		b.count(replica, 1)
		defer b.count(replica, -1)
		var ways sync.WaitGroup
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			ways.Go(func() {
				_, _ = io.Copy(way[0], way[1]) // whoever goes first ends both
				_, _ = way[0].Close(), way[1].Close()
			})
		}
		ways.Wait()
		return
	}
}
