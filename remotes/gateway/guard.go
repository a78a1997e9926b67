package gateway

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// guard refuses what a runtime never sends: requests that a web page makes a
// browser send, and such as were meant for another host. Who may connect at
// all is decided by TLS; see [NewServer].
func guard(r *http.Request) error {
	if !isLoopback(r.Host) {
		return &find.Failure{Status: http.StatusMisdirectedRequest, Code: "DENIED", Message: "the request is for another host"}
	}
	return notForBrowsers(r)
}

// notForBrowsers refuses what a web page makes a browser send.
func notForBrowsers(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "none" {
		return &find.Failure{Status: http.StatusForbidden, Code: "DENIED", Message: "this is not for browsers"}
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

// caller is whose request it is: in mode Pod that of the credential that came
// with it, in mode Node nobody's in particular.
func (g *Gateway) caller(r *http.Request) callers.Caller {
	if g.options.Mode != Pod {
		return callers.Caller{}
	}
	username, password, _ := r.BasicAuth()
	return callers.Caller{Username: username, Password: password}
}
