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
	"debug/buildinfo"
	"errors"
	"fmt"

	"github.com/nestedoci/nested/internal/system"
	"github.com/nestedoci/nested/internal/usage"
)

// front is the next step where a command cannot be intercepted: a registry that clients ask by a name of its own.
func front(registry string) string {
	return "nestctl serve --listen :443 --certificate FILE --registry NAME=" + registry
}

// Select returns the registries that are named, or else those of the references among the arguments of a command. It is an
// error, before anything runs, when their requests cannot be intercepted: there is no registry, or it is one that clients
// ask without a proxy (a usage error). Whether the command's program can be intercepted is for [Run].
func Select(named, arguments []string) ([]Registry, error) {
	var selected []Registry
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

// canIntercept says why the requests of a program cannot be intercepted on a system, as in runtime.GOOS: on macOS and
// Windows, Go programs ask the system for its roots and nobody else. What a script runs is not known.
func canIntercept(goos, program string) error {
	if goos != "darwin" && goos != "windows" {
		return nil
	}
	if _, err := buildinfo.ReadFile(program); err != nil { // another language's
		return nil //nolint:nilerror // it says so
	}
	return fmt.Errorf("%s: is a Go program, and on %s those do not read SSL_CERT_FILE, so that its requests cannot be intercepted; use Linux, or %s",
		program, system.Name(goos), front("REGISTRY"))
}

// needsRoots says that there is no file with the system's roots for the command: it would trust nobody but the registries.
func needsRoots(goos string, r roots) error {
	if goos == "windows" && len(r) == 0 {
		return errors.New("roots: Windows has no file of them; name a file with certificates in SSL_CERT_FILE")
	}
	return nil
}
