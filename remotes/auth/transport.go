package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// reach says how public an address is.
type reach int32

const (
	unknown reach = iota
	public
	private
	loopback
	never // link-local, multicast: where clouds keep their metadata services
)

func reachOf(ip netip.Addr) reach {
	ip = ip.Unmap()
	switch {
	case ip.IsLoopback() || ip.IsUnspecified():
		return loopback
	case ip.IsLinkLocalUnicast() || ip.IsMulticast():
		return never
	case ip.IsPrivate() || carrierGrade.Contains(ip):
		return private
	}
	return public
}

var carrierGrade = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// location is what is known of where a registry is.
type location struct {
	reach atomic.Int32 // known when it was dialled
	plain atomic.Bool  // it has answered over http
}

// transport carries the requests of one registry: to the registry, and to its
// token endpoint or to what it redirects to. It refuses to connect to an
// address less public than the registry's own, judged on the address that is
// dialled; behind a proxy only addresses given as literals can be judged. It
// also makes a broken body look like one that ended early, which is what
// containerd's fetcher resumes.
type transport struct {
	*location
	base     lines       // for the registry
	foreign  lines       // for others, who get no client certificate
	verified lines       // for those of them who get credentials although the registry's certificate is not verified
	registry string      // host:port, as dialled
	header   http.Header // for the registry only
	scheme   string      // with which it gets them; empty: any
	realms   []string    // hosts that may be anywhere
	lenient  bool        // private addresses are fine: nothing secret goes there
	careful  *transport  // for what is sent elsewhere, when this one is lenient
	secure   bool        // the registry is spoken to over https
	proxies  sync.Map    // host:port of proxies in use
}

func newTransport(base *http.Transport, origin *url.URL, options RegistryOptions) *transport {
	t := &transport{location: new(location), base: newLines(base), foreign: newLines(base), verified: newLines(base), registry: dialAddress(origin), header: options.Header, realms: options.Realms}
	if !options.HTTPFallback {
		t.scheme = origin.Scheme
	}
	if ip, err := netip.ParseAddr(origin.Hostname()); err == nil {
		t.observe(reachOf(ip))
	}
	for _, other := range []lines{t.foreign, t.verified} {
		other.each(func(h *http.Transport) {
			if c := h.TLSClientConfig; c != nil {
				c.Certificates, c.GetClientCertificate = nil, nil
			}
		})
	}
	t.verified.each(func(h *http.Transport) {
		if c := h.TLSClientConfig; c != nil {
			c.InsecureSkipVerify = false
		}
	})
	t.each(t.guard)
	return t
}

// guard lets judge see each connection of a transport.
func (t *transport) guard(base *http.Transport) {
	base.DialTLSContext = nil
	dial, proxy := base.DialContext, base.Proxy
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := t.judge(conn, address); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
	if proxy == nil {
		return
	}
	base.Proxy = func(req *http.Request) (*url.URL, error) {
		u, err := proxy(req)
		if u != nil {
			t.proxies.Store(dialAddress(u), true)
		}
		return u, err
	}
}

func (t *transport) closeIdle() {
	t.each((*http.Transport).CloseIdleConnections)
}

func (t *transport) each(change func(*http.Transport)) {
	for _, l := range []lines{t.base, t.foreign, t.verified} {
		l.each(change)
	}
}

// to chooses the lines for a request. Content is verified by its digest
// wherever it comes from; a token endpoint has the registry's word only, which
// is nobody's when the registry is not verified. Then it is verified unless it
// is on the registry's own host or listed.
func (t *transport) to(u *url.URL) lines {
	switch {
	case dialAddress(u) == t.registry:
		return t.base
	case t.lenient || t.isListed(dialAddress(u)) || t.onRegistryHost(u):
		return t.foreign
	}
	return t.verified
}

func (t *transport) onRegistryHost(u *url.URL) bool {
	host, _, _ := net.SplitHostPort(t.registry)
	return strings.EqualFold(u.Hostname(), host)
}

// isListed tells whether a host:port is among the realms of the configuration.
func (t *transport) isListed(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return slices.Contains(t.realms, address) || slices.Contains(t.realms, host)
}

// judge looks at a fresh connection before anything is sent over it.
func (t *transport) judge(conn net.Conn, address string) error {
	address = strings.ToLower(address) // as dialAddress has it
	if _, ok := t.proxies.Load(address); ok {
		return nil
	}
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return nil // not TCP: a dialer of the caller's
	}
	r := reachOf(remote.Addr())
	if address == t.registry {
		t.observe(r)
		return nil
	}
	return t.allow(r, address)
}

// observe notes where the registry is: at the most public address at which it
// was reached, so that it cannot move to where the client's own services are.
func (t *transport) observe(r reach) {
	for {
		known := t.reach.Load()
		if reach(known) != unknown && reach(known) <= r || t.reach.CompareAndSwap(known, int32(r)) {
			return
		}
	}
}

func (t *transport) allow(r reach, address string) error {
	if r == public || r != never && (t.isListed(address) || r <= reach(t.reach.Load())) || r == private && t.lenient {
		return nil
	}
	return refuse("refused to connect to %s: the registry sent us there, to an address that is not public", address)
}

// allowLiteral judges a URL whose host is an address.
func (t *transport) allowLiteral(u *url.URL) error {
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && dialAddress(u) != t.registry {
		return t.allow(reachOf(ip), dialAddress(u))
	}
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.allowLiteral(req.URL); err != nil {
		return nil, err
	}
	registry := dialAddress(req.URL) == t.registry
	if !registry && req.Body != nil && req.Body != http.NoBody && t.careful != nil {
		return t.upload(req)
	}
	if registry && len(t.header) > 0 && (t.scheme == "" || t.scheme == req.URL.Scheme) {
		req = req.Clone(req.Context())
		for name, values := range t.header {
			req.Header[name] = append(req.Header[name], values...)
		}
	}
	resp, err := withPatience(req, func(req *http.Request) (*http.Response, error) {
		return t.to(req.URL).forRequest(req).RoundTrip(withQuery(req))
	})
	if err != nil {
		return nil, err
	}
	if registry && req.URL.Scheme == "http" {
		t.plain.Store(true)
	}
	if err := errors.Join(checkRange(req, resp), checkLocation(req, resp)); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		resp.Body = unwanted{resp.Body}
	}
	resp.Body = resumable{resp.Body, req.Context()}
	return resp, nil
}

// upload sends content to where a registry wants it: never over http when the
// registry itself is at https, and to no address less public than its own.
func (t *transport) upload(req *http.Request) (*http.Response, error) {
	if t.secure && req.URL.Scheme != "https" {
		return nil, errors.Join(refuse("refused to send content to %s over http: the registry wants it there", req.URL.Host), req.Body.Close())
	}
	return t.careful.RoundTrip(req)
}

// checkRange refuses a partial answer that does not begin where it was asked
// to: appended to what is there already it would spoil the content.
func checkRange(req *http.Request, resp *http.Response) error {
	asked, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes=")
	if !ok || resp.StatusCode != http.StatusPartialContent {
		return nil
	}
	start, _, _ := strings.Cut(asked, "-")
	if start == "" || strings.Contains(asked, ",") {
		return nil // counted from the end, or several ranges: nothing is appended to
	}
	if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, "bytes "+start+"-") {
		return refuse("asked %s for bytes from %s, got %.64q", req.URL.Host, start, got)
	}
	return nil
}

// resumable is a body whose connection errors read as io.ErrUnexpectedEOF.
type resumable struct {
	io.ReadCloser
	ctx context.Context
}

func (b resumable) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var broken net.Error
	if err != nil && b.ctx.Err() == nil && errors.As(err, &broken) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// maxRedirects is one less than where Go's client stops by itself.
const maxRedirects = 9

// checkRedirect is the policy for redirects of a registry: never from https
// to http, no user in the URL, and another origin gets neither credentials
// nor the headers that are meant for the registry.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	if len(via) > maxRedirects {
		return refuse("more than %d redirects", maxRedirects)
	}
	if err := checkTarget(last.URL, req.URL); err != nil {
		return err
	}
	for _, r := range append(via, req) {
		if !sameOrigin(r.URL, first.URL) {
			keepOnly(req.Header, "Accept", "Accept-Encoding", "Range", "User-Agent")
			break
		}
	}
	return nil
}

// checkTarget judges one step.
func checkTarget(from, to *url.URL) error {
	switch {
	case to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https"):
		return refuse("refused to follow a redirect from %s to %s", from.Scheme, to.Scheme)
	case to.User != nil:
		return refuse("refused to follow a redirect with a user in it")
	}
	return nil
}

func keepOnly(header http.Header, names ...string) {
	kept := http.Header{}
	for _, name := range names {
		if v := header.Values(name); v != nil {
			kept[name] = v
		}
	}
	clear(header)
	for name, values := range kept {
		header[name] = values
	}
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && dialAddress(a) == dialAddress(b)
}

// dialAddress is the host:port that a transport dials for a URL.
func dialAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
