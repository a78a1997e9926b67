package find

import (
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// scene is a front before a registry in which each repository has a user of its own.
type scene struct {
	*fronttest.Scene
	options frontOptions
}

func newScene(t *testing.T, mode frontMode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{Scene: fronttest.New(t, options...)}
	s.options = frontOptions{mode: mode, credentials: fronttest.PerRepository(t, s.Registry), Options: Options{SearchRequests: 100, Prefetch: 64}}
	s.start(filepath.Join(t.TempDir(), "locations"))
	return s
}

// start starts a front with the location cache in a file.
func (s *scene) start(file string) {
	s.T.Helper()
	s.Start(file, func(cache *locations.Cache) (fronttest.Front, func() int64) {
		s.options.Locations = cache
		f := newFront(s.options)
		return f, f.memory.Used
	})
}

// repository is one of the scene's registry.
func (s *scene) repository(name string) auth.Repository {
	return clienttest.Repository(s.T, s.Registry.Host()+"/"+name)
}
