package gateway

import (
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestBadInput: through a gateway in both modes, and through a front for a network.
func TestBadInput(t *testing.T) {
	t.Parallel()
	readable := []string{"org/app", "org/app/web", "org/app/worker", "org/app/a", "org/app/a/b"}
	for name, open := range map[string]func(*testing.T, ...registrytest.Option) *fronttest.Asking{
		"node": func(t *testing.T, options ...registrytest.Option) *fronttest.Asking {
			t.Helper()
			s := newScene(t, Node, options...)
			return &fronttest.Asking{Scene: s.Scene, Ask: s.Do}
		},
		"pod": func(t *testing.T, options ...registrytest.Option) *fronttest.Asking {
			t.Helper()
			s := newScene(t, Pod, options...)
			s.Registry.Allow("all", "all-secret", readable...)
			s.User = [2]string{"all", "all-secret"}
			return &fronttest.Asking{Scene: s.Scene, Ask: s.Do}
		},
		"front": func(t *testing.T, options ...registrytest.Option) *fronttest.Asking {
			t.Helper()
			n := newNetwork(t, nil, options...)
			n.Registry.Allow("alice", fronttest.Secret, readable...)
			return &fronttest.Asking{Scene: n.Scene, Ask: func(method, path string, header ...string) fronttest.Reply { return n.ask(method, path, "", header...) }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fronttest.BadInput(t, open)
		})
	}
}
