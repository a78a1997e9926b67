package gateway

import (
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// scene is a gateway before a registry in which each repository has a user of
// its own.
type scene struct {
	*fronttest.Scene
	options Options
}

func newScene(t *testing.T, mode Mode, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{Scene: fronttest.New(t, options...)}
	s.options = Options{Mode: mode, Registries: []string{s.Registry.Host()}, Credentials: fronttest.PerRepository(t, s.Registry), SearchRequests: 100, Prefetch: 64, Memory: find.NewMemory(find.DefaultMemory)}
	s.start(filepath.Join(t.TempDir(), "locations"))
	return s
}

// start starts a gateway with the location cache in a file.
func (s *scene) start(file string) {
	s.T.Helper()
	s.Start(file, func(cache *locations.Cache) (fronttest.Front, func() int64) {
		s.options.Locations = cache
		return New(s.options), s.options.Memory.Used
	})
}
