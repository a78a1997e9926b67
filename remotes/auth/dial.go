package auth

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nestedoci/nested/internal/reach"
)

// guard makes a transport check each address before it is used.
func (t *transport) guard(base *http.Transport) {
	base.DialTLSContext = nil
	d := &dialer{transport: t, own: t.dialer, base: base.DialContext}
	if d.base == nil {
		d.base = new(net.Dialer).DialContext
		if d.own == nil {
			d.own = &net.Dialer{Timeout: dialTimeout}
		}
	}
	base.DialContext = d.dial
}

// dialTimeout is containerd's, and that of Go's own client.
const dialTimeout = 30 * time.Second

// dialer connects to the registry, to proxies, and to what the registry names.
type dialer struct {
	transport *transport
	own       *net.Dialer // for what the registry names; nil: base
	base      func(ctx context.Context, network, address string) (net.Conn, error)
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	address = strings.ToLower(address) // as dialAddress has it
	if proxy, _ := ctx.Value(proxyKey{}).(string); proxy == address {
		return d.base(ctx, network, address)
	}
	if address != d.transport.registry && d.own != nil {
		own := *d.own
		own.Control, own.ControlContext = nil, d.control(d.own, address)
		return own.DialContext(ctx, network, address)
	}
	conn, err := d.base(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := d.transport.judge(conn.RemoteAddr().String(), address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// control checks each address of a host before connecting to it, and then calls
// the Control of the dialer's owner, if any.
func (d *dialer) control(owner *net.Dialer, host string) func(context.Context, string, string, syscall.RawConn) error {
	return func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := d.transport.judge(address, host); err != nil {
			return err
		}
		switch {
		case owner.ControlContext != nil:
			return owner.ControlContext(ctx, network, address, c)
		case owner.Control != nil:
			return owner.Control(network, address, c)
		}
		return nil
	}
}

// judge checks the address of a host before anything is sent there.
func (t *transport) judge(at, host string) error {
	remote, err := netip.ParseAddrPort(at)
	if err != nil {
		return nil // not TCP: a dialer of the caller's
	}
	r := reach.Of(remote.Addr())
	if host == t.registry {
		t.observe(r)
		return nil
	}
	return t.allow(r, host)
}

// observe notes how public the registry is: the most public address at which it
// was reached counts, so that it cannot move to where the client's own services
// are.
func (t *transport) observe(r reach.Reach) {
	for {
		known := t.reach.Load()
		if reach.Reach(known) != reach.Unknown && reach.Reach(known) <= r || t.reach.CompareAndSwap(known, int32(r)) {
			return
		}
	}
}

func (t *transport) allow(r reach.Reach, address string) error {
	if r == reach.Public || r != reach.Never && (t.isListed(address) || r <= reach.Reach(t.reach.Load())) || r == reach.Private && t.lenient {
		return nil
	}
	return refuse("refused to connect to %s: the registry sent us there, to an address that is not public", address)
}

// allowHost checks a URL whose host is an address, or could be read as one:
// behind a proxy there is nothing else to check. A proxy that resolves names
// has to protect its own network from its clients.
func (t *transport) allowHost(u *url.URL) error {
	address, name := dialAddress(u), reach.Hostname(u)
	if address == t.registry {
		return nil
	}
	if r := reachOfName(name); r != reach.Unknown {
		return t.allow(r, address)
	}
	if reach.EndsInNumber(name) {
		return refuse("refused to connect to %q: the registry sent us there, to a number that is not an IP address as they are written", address)
	}
	return nil
}

// reachOfName returns the reach of a literal address or of this machine's name,
// and unknown for other names.
func reachOfName(name string) reach.Reach {
	if ip, err := netip.ParseAddr(name); err == nil {
		return reach.Of(ip)
	}
	if reach.IsLocalhost(name) {
		return reach.Loopback
	}
	return reach.Unknown
}

type proxyKey struct{}

// throughProxy notes in a request's context the host:port of the proxy that it
// goes through, so that the dialer allows it: a proxy may be anywhere.
func (t *transport) throughProxy(req *http.Request) *http.Request {
	if t.proxy == nil {
		return req
	}
	proxy, err := t.proxy(req)
	if err != nil || proxy == nil {
		return req // the transport says so, too
	}
	return req.WithContext(context.WithValue(req.Context(), proxyKey{}, dialAddress(proxy)))
}

// SameOrigin reports whether two URLs have scheme, host and port in common. A
// missing port is the default port of the scheme.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && (a.Host == b.Host || dialAddress(a) == dialAddress(b))
}

// ports are those that a transport dials where a URL names none.
var ports = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// dialAddress is the host:port that a transport dials for a URL.
func dialAddress(u *url.URL) string {
	port := cmp.Or(u.Port(), ports[u.Scheme])
	return net.JoinHostPort(reach.Hostname(u), port)
}
