package commandline

import (
	"testing"

	"github.com/nestedoci/nested/internal/terminaltest"
)

// TestWidth: help is as wide as the terminal, but not as narrow as one that leaves no room beside flags.
func TestWidth(t *testing.T) {
	for columns, want := range map[int]int{120: 120, 60: 60, 20: leastWidth} {
		if got := width(terminaltest.Open(t, columns).File); got != want {
			t.Errorf("%d columns: got %d, want %d", columns, got, want)
		}
	}
}
