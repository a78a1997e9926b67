package integration

import (
	"os"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// BenchmarkPulls measures pulls of bundles side by side; see docs/performance.md.
func BenchmarkPulls(b *testing.B) {
	s := startScene(b)
	members := fleet(b, 20, newLayer(b, "shared", []byte("shared")), 1<<10)
	s.pushFleet(b, "org/app", members)
	at := s.pushBundle(b, "org/app", sized(20), newBundle(b, members...))
	for b.Loop() {
		got := s.take(b, "members=20/rtt=20ms", "20 members, 20 ms away", at, bench.Speed{RoundTrip: 20 * time.Millisecond}, 3, toLayout)
		got.Table(os.Stdout)
		got.Lines(os.Stdout)
	}
}
