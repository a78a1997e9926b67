// Package registrytest is an OCI registry inside the process, for unit tests and demonstrations.
//
// It serves the pull part of the distribution specification over real HTTP, issues tokens like a
// real token service, and records every request it is asked. It stores what it is given without
// checking that members, layers or subjects exist.
//
// Read on in this order: [New] and its options, [Registry.Put] and the builders [Registry.Image],
// [Registry.Artifact] and [Registry.Index], the rights ([Registry.Allow]), the request log
// ([Registry.Log]), the faults ([Registry.Intercept]), and what must not be in the log ([Ledger]).
package registrytest

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// Registry is a running registry. Its methods are safe for concurrent use.
type Registry struct {
	config      config
	server      *httptest.Server
	tokenServer *httptest.Server // the same as server unless TokenOnOwnServer was given
	closed      chan struct{}
	connections atomic.Int64
	log         requestLog

	mu           sync.Mutex // guards all below; never held while an answer is written
	repositories map[string]*repository
	rights       rights
	tokens       map[string]token
	interceptors []Interceptor
}

type scheme int

const (
	noAuth scheme = iota
	tokenAuth
	basicAuth
)

type config struct {
	auth           scheme
	realm          string
	ownTokenServer bool
	tokenLifetime  time.Duration
	page           int    // referrers in an answer; 0: all
	support        string // the statement about child namespaces; empty: none
	postStatus     int    // the token service's answer to POST; 0: it is served
	pair           *keyPair
	http2          bool
}

// Option changes what New makes.
type Option func(*config)

// WithTLS serves https with a certificate for 127.0.0.1 and the given names, signed by [Registry.CA].
func WithTLS(names ...string) Option {
	return func(c *config) { c.pair = newKeyPair(names, 0) }
}

// WithExpiredTLS is WithTLS with a certificate that expired an hour ago.
func WithExpiredTLS() Option {
	return func(c *config) { c.pair = newKeyPair(nil, 25*time.Hour) }
}

// WithHTTP2 is WithTLS with a registry that speaks HTTP/2, too. What resets a connection resets a stream
// there.
func WithHTTP2() Option {
	return func(c *config) { c.pair, c.http2 = newKeyPair(nil, 0), true }
}

// WithTokenAuth asks for Bearer tokens, which the registry issues at /token.
func WithTokenAuth() Option {
	return func(c *config) { c.auth = tokenAuth }
}

// WithBasicAuth asks for Basic credentials.
func WithBasicAuth() Option {
	return func(c *config) { c.auth = basicAuth }
}

// WithRealm is WithTokenAuth with another token service named in the challenges.
func WithRealm(url string) Option {
	return func(c *config) { c.auth, c.realm = tokenAuth, url }
}

// TokenOnOwnServer is WithTokenAuth with the token service on a port of its own. Both ports answer
// alike and share one request log; only the challenges differ.
func TokenOnOwnServer() Option {
	return func(c *config) { c.auth, c.ownTokenServer = tokenAuth, true }
}

// TokenLifetime sets how long tokens live, 5 minutes otherwise. With 0 they live 60 seconds and the
// token service does not say so.
func TokenLifetime(d time.Duration) Option {
	return func(c *config) { c.tokenLifetime = d }
}

// WithoutPOST makes the token service answer POST with a status such as 404 or 405.
func WithoutPOST(status int) Option {
	return func(c *config) { c.postStatus = status }
}

// ReferrersInPages lists that many referrers in one answer, with a link to the next.
func ReferrersInPages(size int) Option {
	return func(c *config) { c.page = size }
}

// SupportsChildNamespaces makes the registry answer authorized clients with a
// statement, see docs/spec.md, section 8a. What it accepts and keeps does not
// change.
func SupportsChildNamespaces(statement string) Option {
	return func(c *config) { c.support = statement }
}

// New starts a registry on a free port of 127.0.0.1. Close it when done.
func New(options ...Option) *Registry {
	r := &Registry{
		config:       config{tokenLifetime: 5 * time.Minute},
		closed:       make(chan struct{}),
		repositories: map[string]*repository{},
		rights:       rights{users: map[string]*user{}, identities: map[string]*user{}},
		tokens:       map[string]token{},
	}
	for _, option := range options {
		option(&r.config)
	}
	r.server = r.listen()
	r.tokenServer = r.server
	if r.config.ownTokenServer {
		r.tokenServer = r.listen()
	}
	return r
}

func (r *Registry) listen() *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.connections.Add(1)
		}
	}
	if r.config.pair == nil {
		s.Start()
		return s
	}
	s.EnableHTTP2 = r.config.http2
	s.TLS = &tls.Config{Certificates: []tls.Certificate{r.config.pair.certificate}}
	s.StartTLS()
	return s
}

// Close stops the registry, ends stalled requests and closes all connections. Call it once.
func (r *Registry) Close() {
	close(r.closed)
	r.stop(r.server)
	if r.tokenServer != r.server {
		r.stop(r.tokenServer)
	}
}

func (r *Registry) stop(s *httptest.Server) {
	s.CloseClientConnections()
	s.Close()
}

// Host is the registry's host and port, as references name it.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// URL is the registry's base URL, without a path.
func (r *Registry) URL() string { return r.server.URL }

// Realm is the URL of the token service, as challenges name it.
func (r *Registry) Realm() string {
	if r.config.realm != "" {
		return r.config.realm
	}
	return r.tokenServer.URL + "/token"
}

// CA is the PEM certificate that signed the registry's own; nil without WithTLS.
func (r *Registry) CA() []byte {
	if r.config.pair == nil {
		return nil
	}
	return r.config.pair.ca
}

// Client is a new HTTP client that trusts the registry's certificate and uses no proxy.
func (r *Registry) Client() *http.Client {
	transport := &http.Transport{}
	if r.config.pair != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: r.config.pair.pool(), MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}
}

// Connections counts the TCP connections that were opened to the registry and its token service.
func (r *Registry) Connections() int { return int(r.connections.Load()) }
