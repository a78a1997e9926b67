package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPullIntoLayout(t *testing.T) {
	inner := newBundle(t, member{"b", newImage(t, amd64, "a/b\n", baseLayer(t))})
	a := publish(t, newBundle(t, member{"a", inner}, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	layout := filepath.Join(t.TempDir(), "layout")
	pull := []string{"pull", "--plain-http", "--to", "oci-layout:" + layout, a.ref}

	client.run(t, pull...)
	a.checkTokens(t)
	checkLayout(t, layout, a.records()...)

	a.requests()
	client.run(t, pull...)
	if blobs := only(a.requests(), func(r request) bool { return r.Kind == "blobs" }); len(blobs) > 0 {
		t.Errorf("a second pull asked for blobs: %+v", blobs)
	}
	checkLayout(t, layout, a.records()...)
}

func TestArchiveIsImported(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	dir := t.TempDir()
	archive := filepath.Join(dir, "app.tar")
	newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, "pull", "--plain-http", "--to", "oci-archive:"+archive, a.ref)
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || !slices.Equal(left, []string{archive}) {
		t.Errorf("beside the archive: %q, %v", left, err)
	}

	daemon.ctr(t, "image", "import", archive)
	if images := slices.Sorted(slices.Values(daemon.images(t))); !slices.Equal(images, a.records()) {
		t.Errorf("images %q, want %q", images, a.records())
	}
	worker := a.registry.ref("org/app/worker", a.bundle.members[1].node.desc.Digest.String())
	if printed := daemon.runImage(t, worker); printed != "worker\n" {
		t.Errorf("printed %q", printed)
	}
}

func TestMembersByName(t *testing.T) {
	inner := newBundle(t, member{"b", newImage(t, amd64, "a/b\n", baseLayer(t))}, member{"c", newImage(t, amd64, "a/c\n", baseLayer(t))})
	a := publish(t, newBundle(t, member{"a", inner}, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	layout := filepath.Join(t.TempDir(), "layout")
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	got := client.run(t, "pull", "--plain-http", "--format", "json", "--member", "a/b", "--to", "oci-layout:"+layout, a.ref).summary(t)

	if got.Target == "" || !slices.ContainsFunc(got.Members, func(m summaryMember) bool { return m.Namespace == "a/b" }) {
		t.Errorf("summary %+v", got)
	}
	for _, line := range a.requests() {
		if line.Repository == "org/app/web" || line.Repository == "org/app/a/c" {
			t.Errorf("request %+v", line)
		}
	}
	checkBlobs(t, layout)
}

// TestResolveServesOtherTools: ctr, which knows nothing of child namespaces, pulls what it prints.
func TestResolveServesOtherTools(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	got := newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, "resolve", "--plain-http", a.ref)

	refs := strings.Fields(got.stdout)
	if want := a.memberNames("org/app", a.bundle); !slices.Equal(slices.Sorted(slices.Values(refs)), want) {
		t.Fatalf("resolved to %q, want %q", refs, want)
	}
	for _, ref := range refs {
		repository, _, _ := strings.Cut(strings.TrimPrefix(ref, a.host+"/"), "@")
		l := loginOf(repository)
		daemon.ctr(t, "image", "pull", "--plain-http", "--user", l.username+":"+l.password, ref)
		if printed := daemon.runImage(t, ref); !strings.HasPrefix(printed, strings.TrimPrefix(repository, "org/app/")) {
			t.Errorf("%s printed %q", ref, printed)
		}
	}
}

func TestTree(t *testing.T) {
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	text := client.run(t, "tree", "--plain-http", a.ref).stdout
	for _, word := range []string{"org/app/web", "org/app/worker", "linux/amd64", "linux/arm64"} {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in\n%s", word, text)
		}
	}
	if blobs := only(a.requests(), func(r request) bool { return r.Kind == "blobs" }); len(blobs) > 0 {
		t.Errorf("blobs were asked for: %+v", blobs)
	}
}

// TestArchiveWithCarrier: a carrier that stands as a member is in the archive too, with the index
// that takes its place.
func TestArchiveWithCarrier(t *testing.T) {
	daemon := startContainerd(t)
	carrier := newCarrier(t, newBundle(t, member{"web", newImage(t, amd64, "carried\n", baseLayer(t))}))
	a := publish(t, newBundle(t, member{"sub", carrier}))
	archive := filepath.Join(t.TempDir(), "app.tar")
	newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, "pull", "--plain-http", "--member", "sub/web", "--to", "oci-archive:"+archive, a.ref)

	daemon.ctr(t, "image", "import", archive)
	web := a.registry.ref("org/app/sub/web", carrier.members[0].node.desc.Digest.String())
	if printed := daemon.runImage(t, web); printed != "carried\n" {
		t.Errorf("printed %q", printed)
	}
}
