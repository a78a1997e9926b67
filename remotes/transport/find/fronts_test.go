package find

import (
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestRenamedScopeKeepsCredentialsApart: before a front that rewrites paths, whose tokens have other names for repositories, each repository is
// asked for with the credential of its own: our scope first, then the one that is named.
func TestRenamedScopeKeepsCredentialsApart(t *testing.T) {
	t.Parallel()
	registry := clienttest.NewRegistry(t, registrytest.WithTokenAuth())
	s := &scene{Scene: &fronttest.Scene{T: t, Registry: registry}, options: frontOptions{mode: node, credentials: fronttest.PerRepository(t, registry), Options: Options{SearchRequests: 100}}}
	for _, name := range []string{"org/app", "org/app/web"} {
		registry.Allow("user of "+name, fronttest.Secret, "back/"+name)
	}
	web := registry.Image("back/org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	registry.Tag("back/org/app", "v1", registry.Index("back/org/app", registrytest.Member(web, "web")).Digest)
	registry.Intercept(registrytest.Prefixed("back"))
	s.start(filepath.Join(t.TempDir(), "locations"))
	s.Pull("v1")
	want := map[string]int{"org/app": 1, "back/org/app": 1, "org/app/web": 1, "back/org/app/web": 1}
	for _, q := range registry.Log(registrytest.Of(registrytest.KindToken)) {
		for name := range want {
			if q.Scopes[0] == "repository:"+name+":pull" {
				want[name]--
			}
		}
	}
	for name, n := range want {
		if n != 0 {
			t.Errorf("%s: %d tokens too few", name, n)
		}
	}
}
