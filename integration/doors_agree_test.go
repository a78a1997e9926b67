package integration

import (
	"slices"
	"testing"
)

// TestDoorsAgree: by each door the same bundle brings the same content, and by those that make them the same records.
func TestDoorsAgree(t *testing.T) {
	a := publish(t, newFleet(t))
	stock, served, nested := startContainerd(t), startContainerd(t), startInside(t, a.logins)
	newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, stock.pull(a.ref)...)
	served.pullHosts(t, transfer, startGateway(t, a, "node").certsD, a.ref)
	nested.ctr(t, "image", "pull", "--plain-http", a.ref)

	want := slices.Sorted(slices.Values(stock.blobs(t)))
	for name, daemon := range map[string]*containerd{"gateway": served, "plugin": nested} {
		if got := slices.Sorted(slices.Values(daemon.blobs(t))); !slices.Equal(got, want) {
			t.Errorf("%s: content %q, want %q", name, got, want)
		}
	}
	if len(want) != 1+members+3*members+1 {
		t.Errorf("%d blobs", len(want))
	}
	for name, daemon := range map[string]*containerd{"nestctl": stock, "plugin": nested} {
		if got := slices.Sorted(slices.Values(daemon.images(t))); !slices.Equal(got, a.records()) {
			t.Errorf("%s: images %q, want %q", name, got, a.records())
		}
	}
	if got := served.images(t); !slices.Equal(got, []string{a.ref}) {
		t.Errorf("gateway: images %q", got)
	}
}
