package integration

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPullSummary(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	got := newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, daemon.pull(a.ref, "--format", "json")...).summary(t)
	if got.Root.Ref != a.ref || got.Root.Digest != a.bundle.desc.Digest.String() || len(got.Members) != 2 {
		t.Errorf("summary %+v", got)
	}
}

func TestPullIntoContainerd(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newApp(t))
		d.pullNested(a.ref)
		a.checkTokens(t)
		if images := slices.Sorted(slices.Values(d.images(t))); !slices.Equal(images, a.records()) {
			t.Errorf("images %q, want %q", images, a.records())
		}
		for i, want := range []string{"web on amd64\n", "worker\n"} {
			m := a.bundle.members[i]
			name := a.registry.ref("org/app/"+m.namespace, m.node.desc.Digest.String())
			if printed := d.runImage(t, name); printed != want {
				t.Errorf("%s printed %q, want %q", m.namespace, printed, want)
			}
		}
		if bad := d.incomplete(t); bad != nil {
			t.Errorf("images check: %q", bad)
		}
	})
}

func TestPulledContentNamesItsRepository(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newBundle(t, member{"x/y", newImage(t, amd64, "y\n", baseLayer(t))}))
		d.pullNested(a.ref)

		image := a.bundle.members[0].node
		want := map[string]string{a.bundle.desc.Digest.String(): "org/app", image.desc.Digest.String(): "org/app/x/y"}
		for _, blob := range image.blobs {
			want[blob.desc.Digest.String()] = "org/app/x/y"
		}
		for line := range strings.Lines(d.ctr(t, "content", "ls")) {
			fields := strings.Fields(line)
			repository, known := want[fields[0]]
			if !known {
				continue
			}
			delete(want, fields[0])
			if labels := strings.Split(fields[len(fields)-1], ","); !slices.Contains(labels, "containerd.io/distribution.source.127.0.0.1="+repository) &&
				!slices.Contains(labels, "containerd.io/distribution.source."+a.host+"="+repository) {
				t.Errorf("labels of content of %s: %q", repository, labels)
			}
		}
		if len(want) > 0 {
			t.Errorf("not in the content store: %v", want)
		}
	})
}

func TestMembersGoWithTheirRoot(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newApp(t))
		d.pullNested(a.ref)

		d.collect(t)
		if images := d.images(t); len(images) != 3 {
			t.Errorf("with the root there: images %q", images)
		}
		d.ctr(t, "images", "rm", a.ref)
		await(t, "members' records and content are collected", 30*time.Second, func() bool {
			d.collect(t)
			return len(d.images(t)) == 0 && len(d.blobs(t)) == 0
		})
		if snapshots := strings.TrimSpace(d.ctr(t, "snapshots", "ls")); strings.Count(snapshots, "\n") > 0 {
			t.Errorf("snapshots are left:\n%s", snapshots)
		}
	})
}

// TestSharedMemberStays: of two bundles with one member in common, the second still has it when the
// first is removed.
func TestSharedMemberStays(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
		second := newBundle(t, append(a.bundle.members, member{"web", newImage(t, amd64, "web 2\n", baseLayer(t))})...)
		a.pushNode(t, "org/app", "v2", second)
		d.pullNested(a.ref)
		d.pullNested(a.registry.ref("org/app", "v2"))

		d.ctr(t, "images", "rm", a.ref)
		d.collect(t)
		if printed := d.runImage(t, a.memberNames("org/app", a.bundle)[0]); printed != "web\n" {
			t.Errorf("printed %q", printed)
		}
	})
}

// TestPullIntoKubernetes: the kubelet would let every pod use the records of members.
func TestPullIntoKubernetes(t *testing.T) {
	daemon := startContainerd(t)
	daemon.namespace = "k8s.io"
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))

	client.run(t, daemon.pull(a.ref)...)
	if images := daemon.images(t); !slices.Equal(images, []string{a.ref}) {
		t.Errorf("images %q", images)
	}
	daemon.collect(t)
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
	client.run(t, daemon.pull(a.ref, "--member-records")...)
	if images := slices.Sorted(slices.Values(daemon.images(t))); !slices.Equal(images, a.records()) {
		t.Errorf("with --member-records: images %q", images)
	}
}

// TestArtifactsArePulled: members that are no images, with any media type.
func TestArtifactsArePulled(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		rpm := newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<16))
		a := d.publish(newBundle(t, member{"foo", rpm}, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
		d.pullNested(a.ref)

		a.checkTokens(t)
		if images := slices.Sorted(slices.Values(d.images(t))); !slices.Equal(images, a.records()) {
			t.Errorf("images %q, want %q", images, a.records())
		}
		if !slices.Contains(d.blobs(t), rpm.blobs[0].desc.Digest.String()) {
			t.Error("the artifact's blob is not there")
		}
		if printed := d.runImage(t, a.registry.ref("org/app/web", a.bundle.members[1].node.desc.Digest.String())); printed != "web\n" {
			t.Errorf("printed %q", printed)
		}
	})
}

// TestOneRepository is the first example of image-spec issue 1217: an artifact, an index over it and
// an index over that index, all in one repository.
func TestOneRepository(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		artifact := newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<16))
		a := d.publish(newIndex(t, newIndex(t, artifact)))
		d.pullNested(a.ref)

		a.checkTokens(t)
		if images := d.images(t); !slices.Equal(images, []string{a.ref}) {
			t.Errorf("images %q", images)
		}
		if !slices.Contains(d.blobs(t), artifact.blobs[0].desc.Digest.String()) {
			t.Error("the artifact's blob is not there")
		}
	})
}

// TestSharedLayers: two images of one member repository that differ in their configs only are both
// unpacked. The second waits for layers that the first one fetches.
func TestSharedLayers(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		one := newImage(t, amd64, "shared\n", baseLayer(t))
		a := d.publish(newBundle(t, member{"web", one}, member{"web", withLabel(t, one, "two")}))
		d.pullNested(a.ref)

		if n := strings.Count(d.ctr(t, "content", "ls"), "containerd.io/gc.ref.snapshot.overlayfs="); n != 2 {
			t.Errorf("%d configs have a snapshot, want 2", n)
		}
		for _, name := range a.memberNames("org/app", a.bundle) {
			if printed := d.runImage(t, name); printed != "shared\n" {
				t.Errorf("%s printed %q", name, printed)
			}
		}
	})
}

// TestNarrowerPullKeepsRecords: what a pull leaves out is still in the bundle.
func TestNarrowerPullKeepsRecords(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	client.run(t, daemon.pull(a.ref)...)
	client.run(t, daemon.pull(a.ref, "--member", "web")...)

	daemon.collect(t)
	if images := slices.Sorted(slices.Values(daemon.images(t))); !slices.Equal(images, a.records()) {
		t.Errorf("images %q, want %q", images, a.records())
	}
}

// TestMovedTagReleasesMembers: a member that the bundle has no more goes with the next collection.
func TestMovedTagReleasesMembers(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newApp(t))
		d.pullNested(a.ref)
		moved := newBundle(t, a.bundle.members[0])
		a.pushNode(t, "org/app", "v1", moved)
		d.pullNested(a.ref)

		want := slices.Sorted(slices.Values(append(a.memberNames("org/app", moved), a.ref)))
		await(t, "the other member is collected", 30*time.Second, func() bool {
			d.collect(t)
			return slices.Equal(slices.Sorted(slices.Values(d.images(t))), want)
		})
	})
}

// TestMemberPulledByItsName: who asks for a member keeps it when the bundle goes.
func TestMemberPulledByItsName(t *testing.T) {
	throughDoors(t, func(t *testing.T, d *door) {
		a := d.publish(newApp(t))
		d.pullNested(a.ref)
		web := a.memberNames("org/app", a.bundle)[0]
		d.pullNested(web)

		d.ctr(t, "images", "rm", a.ref)
		d.collect(t)
		if images := d.images(t); !slices.Contains(images, web) {
			t.Errorf("images %q", images)
		}
	})
}
