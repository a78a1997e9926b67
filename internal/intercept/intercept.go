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
// A reader meets: [Select] (below), [Registry], and which ones arguments name (registry.go, arguments.go); [Upstream], the way that
// the command would have taken, with its proxies (upstream.go, dial.go) and its roots (roots.go); the CA (authority.go);
// what the command gets in its environment (environment.go); the proxy (proxy.go), with CONNECT (connect.go), requests
// (forward.go) and its listeners (listener.go); [Run], which runs the command (run.go) with its signals (signals_*.go)
// and says what went wrong (journal.go).
package intercept

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/nestedoci/nested/internal/usage"
)

// front is the next step where a command cannot be intercepted: a registry that clients ask by a name of its own.
func front(registry string) string {
	return "nestctl serve --listen :443 --certificate FILE --registry NAME=" + registry
}

// Select returns the registries that are named, or else those of the references among the arguments of a command. It is an
// error, before anything runs, when their requests cannot be intercepted: there is no registry, or it is one that clients
// ask without a proxy (a usage error), or clients do not read here the variables that make it possible.
func Select(named, arguments []string) ([]Registry, error) {
	var selected []Registry
	if slices.Contains([]string{"darwin", "ios", "windows"}, runtime.GOOS) {
		return nil, fmt.Errorf("%s: Go programs do not read SSL_CERT_FILE there, so that requests cannot be intercepted; use Linux, or %s", runtime.GOOS, front("REGISTRY"))
	}
	for _, text := range named {
		r, err := ParseRegistry(text)
		if err != nil {
			return nil, usage.Error{Err: err}
		}
		selected = append(selected, r)
	}
	if len(named) == 0 {
		selected = RegistriesIn(arguments)
	}
	if len(selected) == 0 {
		return nil, usage.Errorf("no registry: none of the arguments is a reference host/name; name the registry with --registry")
	}
	for _, r := range selected {
		if r.isLoopback() {
			return nil, usage.Errorf("registry %s: clients ask registries on loopback without a proxy, so that requests cannot be intercepted; use a name of it that is not loopback's, or %s", r, front(r.String()))
		}
	}
	return selected, nil
}
