// Package intercept runs one command behind a proxy on loopback that is made for it alone, and gives what the command
// asks of some registries to an [http.RoundTripper] of the caller's. The names of the registries, their URLs, the
// command's credentials and its configuration stay what they are.
//
// What it promises: the requests for the registries reach the RoundTripper as they were sent, bodies streamed both
// ways, and its answers reach the command in the same way. Every other host is a tunnel, or a plain request that is
// passed on, and nobody looks into it. The command reaches everything in the way that it would have taken without
// this: through the proxy that was set before, except for what NO_PROXY named. Where the certificate of a registry is
// not trusted by the roots that the command would have had, it gets an error, not an answer. No other process can use
// the proxy without the password in the command's environment, and no other can pose as a registry, because the key of
// the CA that signs for the registries never leaves the memory of this process.
//
// A reader meets: [Registry], and which ones an argument names (registry.go, arguments.go); [Upstream], the way that
// the command would have taken, with its proxies (upstream.go, dial.go) and its roots (roots.go); the CA (authority.go);
// what the command gets in its environment (environment.go); the proxy (proxy.go), with CONNECT (connect.go), requests
// (forward.go) and its listeners (listener.go); [Run], which runs the command (run.go) with its signals (signals_*.go)
// and says what went wrong (journal.go).
package intercept

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/nestedoci/nested/internal/usage"
)

// instead is the next step where a command cannot be intercepted.
const instead = "use a front for the registry: nestctl serve"

// Check reports why the requests to registries cannot be intercepted, before anything runs: clients here do not read
// the variables that make it possible, or a registry is one that they ask without a proxy. Such an error of a registry
// is a usage error.
func Check(registries []Registry) error {
	if slices.Contains([]string{"darwin", "ios", "windows"}, runtime.GOOS) {
		return fmt.Errorf("%s: Go programs do not read SSL_CERT_FILE there, so that requests cannot be intercepted; %s", runtime.GOOS, instead)
	}
	if len(registries) == 0 {
		return usage.Error{Err: errors.New("no registry: none of the arguments is a reference host/name; name the registry with --registry")}
	}
	for _, r := range registries {
		if r.isLoopback() {
			return usage.Errorf("registry %s: clients ask registries on loopback without a proxy, so that requests cannot be intercepted; %s", r, instead)
		}
	}
	return nil
}
