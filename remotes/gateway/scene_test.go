package gateway

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// scene is a gateway before a registry in which each repository has a user of
// its own.
type scene struct {
	*fronttest.Scene
	locations *locations.Cache
	file      string            // of the location cache
	remember  locations.Options // how the location cache does
	options   Options
}

func newScene(t *testing.T, mode Mode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{Scene: fronttest.New(t, &logged, options...)}
	s.options = Options{Mode: mode, Registries: []string{s.Registry.Host()}, Credentials: fronttest.PerRepository(t, s.Registry), SearchRequests: 100, Prefetch: 64, Memory: transport.NewMemory(transport.DefaultMemory)}
	s.start(filepath.Join(t.TempDir(), "locations"))
	return s
}

// start starts a gateway with the location cache in a file.
func (s *scene) start(file string) {
	s.T.Helper()
	var err error
	if s.locations, err = locations.Open(file, s.remember); err != nil {
		s.T.Fatal(err)
	}
	s.file, s.options.Locations = file, s.locations
	g := New(s.options)
	s.Server = httptest.NewServer(g)
	server, cache := s.Server, s.locations
	s.T.Cleanup(func() {
		server.Close()
		g.Close()
		_ = cache.Close()
		s.checkMemory(g)
	})
}

// checkMemory fails when something was taken and not given back.
func (s *scene) checkMemory(g *Gateway) {
	s.T.Helper()
	for deadline := time.Now().Add(20 * time.Second); g.options.Memory.Used() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // what is read ahead ends by itself
			s.T.Fatalf("%d bytes were not given back", g.options.Memory.Used())
		}
	}
}
