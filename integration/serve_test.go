package integration

import (
	"net/http/httptest"
	"testing"

	"github.com/nestedoci/nested/remotes/gateway"
)

// served is a front before a registry.
type served struct {
	host string // host:port
	ca   string // its certificate
}

// startServe puts a front before a registry until the test ends.
func startServe(t testing.TB, reg *registry) *served {
	t.Helper()
	f, err := gateway.NewFront(gateway.FrontOptions{Registries: map[string]string{"127.0.0.1": reg.host}, SearchRequests: 100, Prefetch: 64})
	must(t, err)
	server := httptest.NewServer(f)
	t.Cleanup(func() {
		server.Close()
		f.Close()
	})
	return &served{host: server.Listener.Addr().String()}
}
