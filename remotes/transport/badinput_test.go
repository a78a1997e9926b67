package transport

import (
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestBadInput: through a transport, as exec has it, too.
func TestBadInput(t *testing.T) {
	t.Parallel()
	fronttest.BadInput(t, func(t *testing.T, options ...registrytest.Option) *fronttest.Asking {
		t.Helper()
		f := newFollowing(t, options...)
		return &fronttest.Asking{Scene: f.Scene, Ask: f.ask}
	})
}
