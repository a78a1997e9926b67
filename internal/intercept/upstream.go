package intercept

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

const (
	// dialTime bounds a connection to a host, as in [http.DefaultTransport].
	dialTime = 30 * time.Second
	// handshakeTime bounds a TLS handshake, likewise.
	handshakeTime = 10 * time.Second
	// maxHeader bounds the header of a request and of an answer: tokens and signed URLs in them have kilobytes.
	maxHeader = 256 << 10
	// idlePerHost are connections kept for a host: what clients ask at once, so that none is dialled anew for each blob.
	idlePerHost = 64
	// copySize is what is read at once of a body.
	copySize = 64 << 10
)

// Dial connects to an address, as [net.Dialer.DialContext] does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Upstream is the way to other machines that a command would have taken: with the proxies, and with the roots, of its
// environment. It may be used by any number of goroutines at once.
type Upstream struct {
	environ environ
	roots   roots
	proxy   func(*url.URL) (*url.URL, error)
	dial    Dial
}

// NewUpstream reads an environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY (and in lower case, which counts first), ALL_PROXY for
// what the first two do not name, SSL_CERT_FILE and SSL_CERT_DIR. What cannot be read is an error. A dial of nil is a
// [net.Dialer]'s.
func NewUpstream(environment []string, dial Dial) (*Upstream, error) {
	e := environ(environment)
	found, err := rootsOf(e)
	if err != nil {
		return nil, err
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	u := &Upstream{environ: e, roots: found, dial: dial}
	u.proxy, err = proxyOf(e)
	return u, err
}

// proxySchemes are those of proxies that can be asked.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// proxyOf returns what finds the proxy for a URL.
func proxyOf(e environ) (func(*url.URL) (*url.URL, error), error) {
	config := httpproxy.Config{NoProxy: e.get("no_proxy", "NO_PROXY")}
	for scheme, field := range map[string]*string{"http": &config.HTTPProxy, "https": &config.HTTPSProxy} {
		*field = e.get(scheme+"_proxy", strings.ToUpper(scheme)+"_PROXY", "all_proxy", "ALL_PROXY")
		if *field != "" && !isProxy(*field) {
			// Not its text: there may be a password in it.
			return nil, fmt.Errorf("%s_PROXY: not a proxy of one of the schemes %v; set it to http://host:port", strings.ToUpper(scheme), proxySchemes)
		}
	}
	return config.ProxyFunc(), nil
}

// isProxy reports whether a text is read as the URL of a proxy that can be asked.
func isProxy(text string) bool {
	config := httpproxy.Config{HTTPSProxy: text}
	proxy, err := config.ProxyFunc()(&url.URL{Scheme: "https", Host: "registry.invalid"})
	return err == nil && proxy != nil && slices.Contains(proxySchemes, proxy.Scheme)
}

// Transport returns a transport that goes this way, over HTTP/1.1, on which one blob does not wait for another. Whoever
// asked for it closes its idle connections.
func (u *Upstream) Transport() *http.Transport {
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return u.proxy(r.URL) },
		DialContext:            u.dial,
		TLSClientConfig:        u.tls(""),
		TLSHandshakeTimeout:    handshakeTime,
		DisableCompression:     true, // the command says what it takes
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		ReadBufferSize:         copySize,
		WriteBufferSize:        copySize,
	}
}

// tls is the configuration for a connection to a server.
func (u *Upstream) tls(serverName string) *tls.Config {
	return &tls.Config{RootCAs: u.roots.pool(), ServerName: serverName, MinVersion: tls.VersionTLS12}
}
