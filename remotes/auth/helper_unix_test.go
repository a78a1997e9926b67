//go:build unix

package auth

import (
	"fmt"
	"strings"
	"testing"
)

// TestHelperOwner: a helper of another user is refused, with the way out.
func TestHelperOwner(t *testing.T) {
	t.Parallel()
	for _, owner := range []uint32{0, 1000} {
		if reason := distrustOwner(owner, 1000); reason != "" {
			t.Errorf("of user %d: %s", owner, reason)
		}
	}
	for _, us := range []uint32{0, 1000680000} {
		reason := distrustOwner(1001, us)
		if !strings.Contains(reason, fmt.Sprintf("belongs to another user (1001; we are %d); chown it to root, for a container in its image", us)) {
			t.Errorf("refused: %q", reason)
		}
	}
}
