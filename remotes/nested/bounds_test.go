package nested

import (
	"fmt"
	"testing"
)

// TestTrailsAreBounded: a resolver that lives long forgets old pulls, never
// the one that has just begun.
func TestTrailsAreBounded(t *testing.T) {
	r := New(nil, Options{})
	for i := range 3 * maxTrails {
		name := fmt.Sprintf("reg.test/p:v%d", i)
		r.remember(name, newTrail(repository(t, "reg.test/p"), r.rule))
		if _, ok := r.trail(name); !ok || len(r.trails) > maxTrails {
			t.Fatalf("after %d pulls %d trails are kept; the last among them: %t", i+1, len(r.trails), ok)
		}
	}
}
