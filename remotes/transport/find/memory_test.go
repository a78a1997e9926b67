package find

import (
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/clienttest"
)

// holder is somebody who takes memory.
func holder(t *testing.T, name string) tenant {
	return tenant{repository: clienttest.Repository(t, "reg.test/org/"+name)}
}

// TestMemoryIsGivenBack: a request gives back what it has taken however it ends.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	m := NewMemory(1 << 20)
	func() {
		defer func() { _ = recover() }()
		ctx, cancel := withBudget(t.Context(), holder(t, "a"), time.Minute)
		defer cancel()
		for range 3 {
			if _, err := take(ctx, m.content, 100); err != nil {
				t.Fatal(err)
			}
		}
		if m.Used() < 300 {
			t.Errorf("%d bytes are taken", m.Used())
		}
		panic("it ends")
	}()
	if m.Used() != 0 {
		t.Errorf("%d bytes were not given back", m.Used())
	}
}
