package intercept

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nestedoci/nested/internal/reach"
	"github.com/nestedoci/nested/internal/sanitize"
)

// Registry is a host, and a port when it is neither that of https nor that of http. Others than the zero value come from
// [ParseRegistry].
type Registry struct {
	host string // in lower case, ASCII; an IPv6 address without brackets
	port string
}

// hub are the names of Docker Hub: references have the first, clients ask the last.
var hub = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// validName is what docker takes for a host, and underscores, which some resolvers know.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`)

// ParseRegistry reads host, host:port, or an IPv6 address in brackets with or without a port.
func ParseRegistry(s string) (Registry, error) {
	u := url.URL{Host: s}
	r := Registry{canonical(&u), u.Port()}
	if port, err := strconv.ParseUint(r.port, 10, 16); r.port != "" && (err != nil || port == 0) {
		return Registry{}, fmt.Errorf("registry %s: the port must be between 1 and 65535", sanitize.Quote(s))
	}
	ip, err := netip.ParseAddr(r.host)
	isAddress := err == nil && ip.Zone() == "" && ip.Is6() == strings.HasPrefix(s, "[")
	isName := len(r.host) <= 253 && validName.MatchString(r.host) && !reach.EndsInNumber(r.host) && s[0] != '[' // RFC 1035, section 2.3.4
	if !isAddress && !isName || strings.HasSuffix(s, ":") {
		return Registry{}, fmt.Errorf("registry %s: neither a host nor host:port", sanitize.Quote(s))
	}
	return r, nil
}

// canonical is the one spelling of a URL's host: in lower case, ASCII, without the dot behind a complete name.
func canonical(u *url.URL) string {
	host := reach.Hostname(u)
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(host, ".")
}

// String returns what [ParseRegistry] reads back.
func (r Registry) String() string {
	host := r.host
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + host + "]"
	}
	if r.port == "" {
		return host
	}
	return host + ":" + r.port
}

// hosts are the names for which a registry is asked.
func (r Registry) hosts() []string {
	if slices.Contains(hub, r.host) {
		return hub
	}
	return []string{r.host}
}

// isLoopback reports whether clients ask the registry without a proxy, as Go's do.
func (r Registry) isLoopback() bool {
	ip, err := netip.ParseAddr(r.host)
	return r.host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// has reports whether a request for a target is one for the registry. Without a port of its own it is at those of https
// and http.
func (r Registry) has(t target) bool {
	atPort := t.port == r.port || r.port == "" && (t.port == "443" || t.port == "80")
	return atPort && slices.Contains(r.hosts(), t.host)
}

// target is where a client wants to go.
type target struct{ host, port string }

// targetOf is the target of a URL's host, with the port of its scheme when it has none.
func targetOf(scheme, host string) target {
	u := url.URL{Host: host}
	t := target{canonical(&u), u.Port()}
	if t.port == "" {
		t.port = defaultPorts[scheme]
	}
	return t
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// address is the target for a dialer.
func (t target) address() string { return net.JoinHostPort(t.host, t.port) }

// urlHost is the target as the host of a URL of a scheme.
func (t target) urlHost(scheme string) string {
	if t.port == defaultPorts[scheme] {
		return Registry{host: t.host}.String()
	}
	return Registry(t).String()
}
