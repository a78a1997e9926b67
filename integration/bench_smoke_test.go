package integration

import (
	"slices"
	"testing"

	"github.com/nestedoci/nested/integration/bench"
)

// TestBenchCounts: what `make bench` counts is exact, whatever the machine is doing: each way to pull a bundle makes as
// many requests as it needs, and stock containerd one more, because it resolves by HEAD.
func TestBenchCounts(t *testing.T) {
	needs(t, "all", "linux")
	s := newStage(t)
	s.startDaemons(t)
	at := s.smallBundle(3)(t)
	if want := (bench.Content{Levels: 1, Indexes: 1, Members: 3, Blobs: 3*3 + 1, Bytes: at.content.Bytes, Root: at.content.Root}); at.content != want {
		t.Fatalf("content %+v, want %+v", at.content, want)
	}
	oras := othersDefault[slices.IndexFunc(othersDefault, func(c contender) bool { return c.name == "oras cp" })]
	more := map[string]int{"containerd-nested": 1, "stock containerd, gateway": 1, "stock containerd, gateway, prefetch = 0": 1} // requests
	for round := range 2 {
		for _, c := range slices.Concat([]contender{nestctlToLayout, oras}, nestedToDaemon) {
			got := s.measure(t, c.prepare(t, s.scene, at))
			floor := c.shape.Floor(at.content, bench.Speed{})
			helpers := 1
			if c.name == "containerd-nested" && round > 0 {
				helpers = 0 // the daemon keeps what it answered
			}
			if want := floor.Requests + more[c.name]; got.Requests != want || got.Tokens != floor.Tokens || got.Helpers != helpers {
				t.Errorf("%s: %d requests, %d tokens, %d runs of the helper, want %d, %d, %d", c.name, got.Requests, got.Tokens, got.Helpers, want, floor.Tokens, helpers)
			}
			if c.name == nestctlToLayout.name && got.Traffic.Handshakes != 1 {
				t.Errorf("%s: %d handshakes", c.name, got.Traffic.Handshakes)
			}
			if got.Traffic.Received < floor.Bytes || got.CPU <= 0 || got.Peak <= 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
		}
	}
}
