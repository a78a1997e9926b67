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
	"net/netip"
	"os"
	"time"
)

const (
	// headerTimeout bounds the TLS handshake, and then each request's headers.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10 // containerd's have less than one KiB
)

// Server serves a gateway or a front on a listener.
type Server struct {
	// MaxConnections bounds those that are open at once, and half of it those
	// from one address. Of more, that which has waited longest without a
	// request is closed, and where all are busy the new one. 0: no bound. Set it
	// before Serve is called, as Proxies.
	MaxConnections int
	// Proxies are the addresses of load balancers. They have a share of
	// MaxConnections as large as they need, since clients stand behind them.
	Proxies []netip.Prefix

	http        *http.Server
	connections connections
	served      chan struct{} // closed when Serve returns
}

// NewServer returns the server for a gateway or a front. It speaks TLS with the
// certificate and key in one file, to clients alone that show a certificate
// which those in the other file have signed; without such a file to any client.
// The certificate is read again when its file has changed, and the one before
// stays while the new one cannot be read; the clients' CA is read for each
// connection. Blobs are the traffic, so that it keeps to HTTP/1.1.
func NewServer(handler http.Handler, certificate, clientCA string) *Server {
	s := &Server{served: make(chan struct{})}
	own := &certificateFile{path: certificate}
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
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own.get},
	}
	if clientCA != "" {
		s.http.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return clientTLS(own, clientCA)
		}
	}
	return s
}

// Serve serves until End is called or the listener fails. It always returns
// an error, as [http.Server.Serve] does. Call it once.
func (s *Server) Serve(listener net.Listener) error {
	defer close(s.served)
	s.connections.limit(s.MaxConnections, s.Proxies)
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

// clientTLS is for clients that show a certificate.
func clientTLS(own *certificateFile, clientCA string) (*tls.Config, error) {
	data, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("client CA %s: no certificate in it", clientCA)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: own.get,
		ClientCAs:      pool,
		ClientAuth:     tls.RequireAndVerifyClientCert,
	}, nil
}

// CheckServer reports whether the files for [NewServer] can be used.
func CheckServer(certificate, clientCA string) error {
	own := &certificateFile{path: certificate}
	_, err := own.get(nil)
	if err == nil && clientCA != "" {
		_, err = clientTLS(own, clientCA)
	}
	return err
}
