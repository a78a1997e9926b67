package plugin

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/transfer"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestProgress: one of the transfers speaks at a time, members are shown by their names, and that all is done is said
// when it is.
func TestProgress(t *testing.T) {
	s := newScene(t)
	noise := make([]byte, 256<<10+1)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	web, large := s.registry.Image("org/app/web", []byte("small")), s.registry.Image("org/app/large", noise)
	index := s.registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(large, "large"))
	s.registry.Tag("org/app", "v1", index.Digest)
	var events []transfer.Progress
	speaking := false
	if err := s.pull("v1", nil, transfer.WithProgress(func(p transfer.Progress) {
		if speaking {
			t.Error("two speak at once")
		}
		speaking = true
		events = append(events, p)
		speaking = false
	})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ event, name string }{
		{"fetching image content", "/org/app/web@sha256:"},
		{"saved", "/org/app/web@sha256:"},
		{"fetching image content", "/org/app/large@sha256:"},
		{"complete", "layer-sha256:"},
		{"saved", "/org/app/large@sha256:"},
		{"saved", "/org/app:v1"},
	} {
		if !slices.ContainsFunc(events, func(p transfer.Progress) bool { return p.Event == want.event && strings.Contains(p.Name, want.name) }) {
			t.Errorf("no %v in %+v", want, events)
		}
	}
	layers := map[string]bool{}
	for _, e := range events {
		if strings.HasPrefix(e.Name, "layer-sha256:") {
			layers[e.Name] = true
		}
	}
	if len(layers) != 1 {
		t.Errorf("only the large layer is to be reported: %v", layers)
	}
	if last := events[len(events)-1]; !strings.HasPrefix(last.Event, "Completed pull from OCI Registry") {
		t.Errorf("the last is %+v", last)
	}
	if n := len(slices.DeleteFunc(events, func(p transfer.Progress) bool { return !strings.HasPrefix(p.Event, "Completed") })); n != 1 {
		t.Errorf("it was said %d times that all is done", n)
	}
}
