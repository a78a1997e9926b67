package intercept

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxConnections bounds the connections to the proxy; more wait. Clients have some dozens, and each takes about 100 KiB.
	maxConnections = 512
	// headerTime bounds how long a connection of whoever has not shown the password stays.
	headerTime = 30 * time.Second
)

// Options are for one command.
type Options struct {
	Registries []Registry        // whose requests are intercepted
	Transport  http.RoundTripper // gets them
	Upstream   *Upstream         // for everything else
	// Asked gets, when there is one, a line for each request that is seen and for each tunnel: method, URL without its
	// query, what was answered, and from where ([AnsweredFrom]). Report gets what went wrong, in one line, after the command. Texts of strangers are in
	// both.
	Asked, Report func(line string)
}

// proxy is the proxy of one command.
type proxy struct {
	Options
	password string
	ca       *authority
	journal  journal
	listener net.Listener
	tunnels  *handed // connections to registries
	front    http.Server
	inside   http.Server // in those connections

	registries, others *httputil.ReverseProxy
	direct             *http.Transport // of the others

	ctx        context.Context // ends with the proxy
	cancel     context.CancelFunc
	work       sync.WaitGroup
	handshakes atomic.Int32 // that go on
}

// start listens on loopback. Whoever calls it closes the proxy.
func start(o Options) (*proxy, error) {
	var hosts []string
	for _, r := range o.Registries {
		hosts = append(hosts, r.hosts()...)
	}
	ca, err := newAuthority(authorityName, hosts)
	if err != nil {
		return nil, err
	}
	listener, err := listen()
	if err != nil {
		return nil, err
	}
	p := &proxy{Options: o, password: rand.Text(), ca: ca, listener: listener, tunnels: newHanded(listener.Addr())}
	p.journal.asked = o.Asked
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.registries = forwarder(watched{o.Transport, &p.journal})
	p.direct = p.Upstream.Transport()
	p.others = forwarder(watched{p.direct, &p.journal})
	p.serve(&p.front, limit(listener, maxConnections), http.HandlerFunc(p.handle))
	p.serve(&p.inside, p.tunnels, http.HandlerFunc(p.handleInside))
	return p, nil
}

// listen listens where this machine alone can connect.
func listen() (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err == nil {
		return listener, nil
	}
	six, failed := config.Listen(context.Background(), "tcp", "[::1]:0")
	return six, errors.Join(failed, err)
}

// serve lets a server handle the connections of a listener until the proxy is closed.
func (p *proxy) serve(s *http.Server, listener net.Listener, handler http.Handler) {
	s.Handler = handler
	s.ReadHeaderTimeout = headerTime
	s.MaxHeaderBytes = maxHeader
	s.ErrorLog = log.New(io.Discard, "", 0) // what matters is in the journal
	s.BaseContext = func(net.Listener) context.Context { return p.ctx }
	s.ConnContext = withTarget
	p.work.Go(func() { _ = s.Serve(listener) }) // until it is closed
}

// lastWords is how long the end of the command's handshakes is waited for: the last
// thing that it said may be why it has failed.
const lastWords = time.Second

// close ends the proxy with all connections and requests.
func (p *proxy) close() {
	for end := time.Now().Add(lastWords); p.handshakes.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	p.cancel()
	p.front.Close()
	p.inside.Close()
	p.work.Wait()
	p.direct.CloseIdleConnections()
}

// user is the name that goes with the password, which alone counts.
const user = "nestctl"

// url is that of the proxy, for the command.
func (p *proxy) url() string {
	u := url.URL{Scheme: "http", User: url.UserPassword(user, p.password), Host: p.listener.Addr().String()}
	return u.String()
}

// handle answers what comes to the proxy itself.
func (p *proxy) handle(w http.ResponseWriter, r *http.Request) {
	switch {
	case !p.isOurs(r):
		w.Header().Set("Proxy-Authenticate", `Basic realm="nestctl exec"`)
		w.Header().Set("Connection", "close") // strangers keep no connection
		http.Error(w, "this proxy is for the command of nestctl exec alone", http.StatusProxyAuthRequired)
	case r.Method == http.MethodConnect:
		p.connect(r.Context(), w, targetOf("https", r.Host))
	case r.URL.Scheme != "http" || r.URL.Host == "":
		http.Error(w, "not a request to a proxy", http.StatusBadRequest)
	case p.isIntercepted(targetOf("http", r.URL.Host)):
		p.pass(w, r, "http", targetOf("http", r.URL.Host))
	default:
		p.others.ServeHTTP(w, r)
	}
}

// isOurs reports whether a request is the command's.
func (p *proxy) isOurs(r *http.Request) bool {
	basic := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	_, password, ok := basic.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(password), []byte(p.password)) == 1
}

func (p *proxy) isIntercepted(t target) bool {
	for _, r := range p.Registries {
		if r.has(t) {
			return true
		}
	}
	return false
}

// handleInside answers what comes through a connection to a registry.
func (p *proxy) handleInside(w http.ResponseWriter, r *http.Request) {
	c := connectionOf(r.Context())
	if targetOf(c.scheme, r.Host) != c.target {
		http.Error(w, "this connection is to "+c.target.urlHost(c.scheme), http.StatusMisdirectedRequest)
		return
	}
	p.pass(w, r, c.scheme, c.target)
}

// pass sends a request for a registry on, as the command meant it.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request, scheme string, to target) {
	r.URL.Scheme, r.URL.Host = scheme, to.urlHost(scheme)
	_ = http.NewResponseController(w).EnableFullDuplex() // an answer may come before the end of the body; HTTP/1.1 always can
	w.Header()["Content-Type"] = nil                     // none is guessed where the registry gives none
	p.registries.ServeHTTP(w, r)
}
