package transport

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// scene is a front before a registry in which each repository has a user of its own.
type scene struct {
	*fronttest.Scene
	locations *locations.Cache
	file      string            // of the location cache
	remember  locations.Options // how the location cache does
	options   frontOptions
}

func newScene(t *testing.T, mode frontMode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{Scene: fronttest.New(t, &logged, options...)}
	s.options = frontOptions{mode: mode, credentials: fronttest.PerRepository(t, s.Registry), Options: Options{SearchRequests: 100, Prefetch: 64}}
	s.start(filepath.Join(t.TempDir(), "locations"))
	return s
}

// start starts a front with the location cache in a file.
func (s *scene) start(file string) {
	s.T.Helper()
	var err error
	if s.locations, err = locations.Open(file, s.remember); err != nil {
		s.T.Fatal(err)
	}
	s.file, s.options.Locations = file, s.locations
	f := newFront(s.options)
	s.Server = httptest.NewServer(f)
	server, cache := s.Server, s.locations
	s.T.Cleanup(func() {
		server.Close()
		f.Close()
		_ = cache.Close()
		checkMemory(s.T, f.Finder)
	})
}

// checkMemory fails when something was taken and not given back.
func checkMemory(t *testing.T, f *Finder) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); f.memory.Used() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // what is read ahead ends by itself
			t.Fatalf("%d bytes were not given back", f.memory.Used())
		}
	}
}

func repository(t testing.TB, name string) auth.Repository {
	t.Helper()
	r, err := auth.ParseRepository(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
