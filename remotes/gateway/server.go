package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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

// NewServer returns the server for a gateway. It speaks TLS with the
// certificate and key in one file, to clients alone that show a certificate
// which those in the other file have signed. Both files are read again for
// each connection. Blobs are the traffic, so that it keeps to HTTP/1.1.
func NewServer(handler http.Handler, certificate, clientCA string) *http.Server {
	s := &strangers{}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.watch,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return serverTLS(certificate, clientCA)
			},
		},
	}
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
		return nil, fmt.Errorf("client CA %s: %w", clientCA, errors.New("no certificate in it"))
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

// CheckServer tells whether the files for [NewServer] can be used.
func CheckServer(certificate, clientCA string) error {
	_, err := serverTLS(certificate, clientCA)
	return err
}

// strangers are the connections that have asked for nothing yet.
type strangers struct {
	mu    sync.Mutex
	order []net.Conn
}

func (s *strangers) watch(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.order {
		if c == conn {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	if state != http.StateNew {
		return
	}
	if len(s.order) >= maxStrangers {
		_ = s.order[0].Close()
		s.order = s.order[1:]
	}
	s.order = append(s.order, conn)
}
