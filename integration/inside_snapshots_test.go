//go:build linux

package integration

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"google.golang.org/grpc"
)

// labelled is a snapshotter that notes the labels that layers are prepared with, as lazy ones go by them.
type labelled struct {
	snapshots.Snapshotter
	mu   sync.Mutex
	seen []map[string]string
}

func (l *labelled) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, o := range opts {
		if err := o(&info); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	l.seen = append(l.seen, info.Labels)
	l.mu.Unlock()
	return l.Snapshotter.Prepare(ctx, key, parent, opts...)
}

// TestInsideSnapshots: a lazy snapshotter is told the member's own repository for each layer.
func TestInsideSnapshots(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newBundle(t,
		member{"web", newImage(t, amd64, "web\n", baseLayer(t))}, member{"x/worker", newImage(t, amd64, "worker\n", baseLayer(t))}))
	dir := tempDir(t)
	plain, err := native.NewSnapshotter(filepath.Join(dir, "root"))
	must(t, err)
	lazy := &labelled{Snapshotter: plain}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(lazy))
	listener, err := net.Listen("unix", filepath.Join(dir, "lazy.sock"))
	must(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	daemon := startInside(t, nil, fmt.Sprintf(`
[proxy_plugins.lazy]
type = "snapshot"
address = %q
[proxy_plugins.lazy.exports]
enable_remote_snapshot_annotations = "true"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "lazy"
differ = "walking"
`, listener.Addr()))
	daemon.ctr(t, "image", "pull", "--plain-http", "--snapshotter", "lazy", a.ref)

	want := map[string]string{}
	for i, name := range a.memberNames("org/app", a.bundle) {
		for _, blob := range a.bundle.members[i].node.blobs[:2] { // the last is the config
			want[blob.desc.Digest.String()] = name
		}
	}
	got := map[string]string{}
	for _, labels := range lazy.seen {
		got[labels["containerd.io/snapshot/cri.layer-digest"]] = labels["containerd.io/snapshot/cri.image-ref"]
	}
	if !maps.Equal(got, want) {
		t.Errorf("layers and references %v\nwant %v", got, want)
	}
	if manifests := slices.Compact(slices.Sorted(maps.Values(got))); len(manifests) != 2 {
		t.Errorf("references %q", manifests)
	}
}
