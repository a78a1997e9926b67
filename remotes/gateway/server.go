package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// headerTimeout bounds the TLS handshake, and then each request's headers.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10 // containerd's have less than one KiB
	// maxStrangers bounds the connections that have not yet shown a
	// certificate and asked for something; of more, the oldest is closed.
	maxStrangers = 256
)

// Server serves a gateway on a listener.
type Server struct {
	http        *http.Server
	connections connections
	served      chan struct{} // closed when Serve returns
}

// NewServer returns the server for a gateway. It speaks TLS with the
// certificate and key in one file, to clients alone that show a certificate
// which those in the other file have signed. Both files are read again for
// each connection. Blobs are the traffic, so that it keeps to HTTP/1.1.
func NewServer(handler http.Handler, certificate, clientCA string) *Server {
	s := &Server{served: make(chan struct{})}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.connections.watch,
		ErrorLog:          log.New(io.Discard, "", 0), // of strangers' handshakes
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return serverTLS(certificate, clientCA)
			},
		},
	}
	return s
}

// Serve serves until End is called or the listener fails. It always returns
// an error, as [http.Server.Serve] does. Call it once.
func (s *Server) Serve(listener net.Listener) error {
	defer close(s.served)
	return s.http.ServeTLS(listener, "", "")
}

// End stops a server that serves on the listener. Whoever has connected by
// then is answered, until the context ends. [http.Server.Shutdown] would
// close connections whose first request is on its way, and who sent it would
// see an end that they do not try again after.
func (s *Server) End(ctx context.Context, listener net.Listener) error {
	err := listener.Close()
	<-s.served // all that was accepted is known by now
	s.http.SetKeepAlivesEnabled(false)
	select {
	case <-s.connections.gone():
	case <-ctx.Done():
	}
	return errors.Join(err, s.http.Close())
}

func serverTLS(certificate, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certificate, err)
	}
	data, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("client CA %s: no certificate in it", clientCA)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

// CheckServer reports whether the files for [NewServer] can be used.
func CheckServer(certificate, clientCA string) error {
	_, err := serverTLS(certificate, clientCA)
	return err
}

// connections are those that are open. Strangers among them have asked for
// nothing yet.
type connections struct {
	mu        sync.Mutex
	open      map[net.Conn]bool
	strangers []net.Conn
	empty     chan struct{} // closed when none is open
}

func (c *connections) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strangers = slices.DeleteFunc(c.strangers, func(s net.Conn) bool { return s == conn })
	switch state {
	case http.StateNew:
		c.add(conn)
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		if len(c.open) == 0 && c.empty != nil {
			close(c.empty)
			c.empty = nil
		}
	}
}

// add adds a stranger. The caller holds the lock.
func (c *connections) add(conn net.Conn) {
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[conn] = true
	if len(c.strangers) >= maxStrangers {
		_ = c.strangers[0].Close() // its goroutine sees to the rest
		c.strangers = c.strangers[1:]
	}
	c.strangers = append(c.strangers, conn)
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
