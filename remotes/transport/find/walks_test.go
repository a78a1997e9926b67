package find

import (
	"strconv"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

// TestSearchesAreBounded: a crowd of callers that search makes the gateway forget the oldest search, not all; what a
// search read is given back with it.
func TestSearchesAreBounded(t *testing.T) {
	t.Parallel()
	memory := NewMemory(DefaultMemory)
	s := searches{memory: memory.walked}
	of := func(i int) Request {
		return Request{repository: clienttest.Repository(t, "reg.test/org/app"+strconv.Itoa(i))}
	}
	for i := range maxWalks + 1 {
		w, leave, err := s.enter(t.Context(), of(i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.remember(step{in: of(i).repository}, nil); err != nil {
			t.Fatal(err)
		}
		leave()
	}
	bytes := memory.Used() / maxWalks
	for i, remembered := range map[int]bool{0: false, 1: true, maxWalks: true} {
		w, _, err := s.enter(t.Context(), of(i))
		if err != nil || (len(w.below) > 0) != remembered {
			t.Errorf("search %d has read %d indexes, %v", i, len(w.below), err)
		}
	}
	s.close()
	if used := memory.Used(); used != 2*bytes {
		t.Errorf("%d bytes are taken, %d by the searches that are being made", used, 2*bytes)
	}
}
