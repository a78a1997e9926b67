package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"

	"github.com/nestedoci/nested/remotes/auth"
)

// guard refuses what a runtime never sends: requests that a web page makes a
// browser send, and such as were meant for another host. Who may connect at
// all is decided by TLS; see [NewServer].
func guard(r *http.Request) error {
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case !isLoopback(r.Host):
		return &failure{http.StatusMisdirectedRequest, "DENIED", "the request is for another host"}
	case r.Header.Get("Origin") != "", site != "" && site != "none":
		return &failure{http.StatusForbidden, "DENIED", "the gateway is not for browsers"}
	}
	return nil
}

// isLoopback reports whether a Host header names this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// caller is whose credentials are used: in mode Pod those that came with the
// request, in mode Node nobody's in particular.
type caller struct{ username, password string }

func (g *Gateway) caller(r *http.Request) caller {
	if g.options.Mode != Pod {
		return caller{}
	}
	username, password, _ := r.BasicAuth()
	return caller{username, password}
}

// callerKey is the key of the caller in a context.
type callerKey struct{}

// callers is the [auth.Source] of mode Pod: the credential of the caller on
// whose behalf the context is. Whatever the repository, it is the only one
// that there is.
type callers struct{}

// Lookup implements [auth.Source].
func (callers) Lookup(ctx context.Context, _ auth.Repository) (auth.Credential, error) {
	c, _ := ctx.Value(callerKey{}).(caller)
	if auth.IsRedirected(ctx) {
		return auth.Credential{Source: "none: the caller's is for the registry that redirects there"}, nil
	}
	if c == (caller{}) {
		return auth.Credential{Source: "none: the caller showed none"}, nil
	}
	return auth.UserCredential(c.username, c.password, "the caller's"), nil
}
