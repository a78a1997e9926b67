package daemon

import (
	"os"
	"testing"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// probing is the argument with which this binary reads a location cache.
const probing = "probe"

// TestMain is the program that reads a location cache when it is started as
// that, and otherwise runs the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == probing {
		if locations.Probe(os.Args[2]) != nil {
			os.Exit(probeFailed)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}
