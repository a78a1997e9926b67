package gateway

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// showing is [callers.Source], which notes when a credential is shown to the
// registry: an answer for which none was needed says nothing about it.
type showing struct{ callers.Source }

type shownKey struct{}

// Lookup implements [auth.Source].
func (s showing) Lookup(ctx context.Context, of auth.Repository) (auth.Credential, error) {
	c, err := s.Source.Lookup(ctx, of)
	if shown, ok := ctx.Value(shownKey{}).(*atomic.Bool); ok && err == nil && !c.Anonymous() {
		shown.Store(true)
	}
	return c, err
}

// callerOf is whose request it is. Who writes has to say so first: some clients
// show their credential only when they are asked for it.
func callerOf(r *http.Request) (callers.Caller, error) {
	username, password, ok := r.BasicAuth()
	caller := callers.Caller{Username: username, Password: password}
	refused := &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED"}
	switch {
	case !ok && r.Header.Get("Authorization") != "":
		refused.Message = "credentials are taken as Basic; tokens of the registry are for the registry"
	case caller != (callers.Caller{}) && (username == "" || password == ""):
		refused.Message = "user name or password is empty; log in: docker login " + printableHost(r.Host)
	case caller == (callers.Caller{}) && r.Method != http.MethodGet && r.Method != http.MethodHead:
		refused.Message = "log in to push: docker login " + printableHost(r.Host)
	default:
		return caller, nil
	}
	return callers.Caller{}, refused
}

// printableHost is a Host header as it may be shown.
func printableHost(host string) string {
	if _, err := auth.ParseRepository(strings.ToLower(host) + "/x"); err != nil {
		return "HOST"
	}
	return host
}

// address is where a request comes from: for IPv6 the network of it.
func (f *Front) address(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at := from.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		before, err := addressIn(strings.TrimSpace(hop))
		if err != nil || !slices.ContainsFunc(f.options.Proxies, func(p netip.Prefix) bool { return p.Contains(at) }) {
			break
		}
		at = before.Unmap()
	}
	if at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			return network.String()
		}
	}
	return at.String()
}

// addressIn is an address, which some proxies write with a port.
func addressIn(hop string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(hop); err == nil {
		return at.Addr(), nil
	}
	return netip.ParseAddr(hop)
}
