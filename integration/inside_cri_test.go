package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// startInsideCRI starts containerd with the plugin and CRI.
func startInsideCRI(t *testing.T, certsD string, logins map[string]login, more ...string) *cri {
	t.Helper()
	return startCRI(t, criOptions{version: inside, certsD: certsD, more: pluginSection(t, logins, more...)})
}

// TestInsideNoImage: CRI is told at once, with the members' names, that nothing runs on the node.
func TestInsideNoImage(t *testing.T) {
	rpm := randomBlob("application/x-rpm", 1<<16)
	a := publishAt(t, startRegistry(t, nil), newBundle(t,
		member{"rpm", newArtifact(t, "application/vnd.test.rpm", rpm)}, member{"arm", newImage(t, arm64, "arm\n", baseLayer(t))}))
	node := startInsideCRI(t, a.hosts(t), nil)
	_, err := node.tryPullImage(t, a.ref, nil)
	if err == nil || !strings.Contains(err.Error(), "org/app/rpm@sha256:") || !strings.Contains(err.Error(), "org/app/arm") {
		t.Errorf("got %v", err)
	}
	if blobs := only(a.requests(), func(r request) bool { return r.Reference == rpm.desc.Digest.String() }); len(blobs) > 0 {
		t.Errorf("its content was fetched: %+v", blobs)
	}
}

// TestInsideCRI: an image by its root's name, with the node's credentials; then a member by its own name, for which
// nothing is downloaded but whose puller has to be authorized as usual.
func TestInsideCRI(t *testing.T) {
	base := baseLayer(t)
	a := publish(t, newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"worker", newImage(t, amd64, "worker\n", base)}))
	node := startInsideCRI(t, a.hosts(t), a.logins)
	node.pullImage(t, a.ref, nil)
	a.checkTokens(t)
	if images := node.listImages(t); len(images) != 1 || len(images[0].RepoTags) != 1 {
		t.Errorf("CRI lists %v", images)
	}
	if got := node.runPod(t, a.ref); got != "web\n" {
		t.Errorf("the pod printed %q", got)
	}
	if bad := node.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}

	a.requests()
	worker := a.memberNames("org/app", a.bundle)[1]
	if _, err := node.tryPullImage(t, worker, (login{"stranger", "none"}).auth()); err == nil {
		t.Error("a stranger pulled a member that was there")
	}
	node.pullImage(t, worker, loginOf("org/app/worker").auth())
	if got := only(a.requests(), func(r request) bool { return r.Method == "GET" && r.Status < 300 }); len(got) > 0 {
		t.Errorf("a member that was there was fetched again: %+v", got)
	}
	if got := node.runPod(t, worker); got != "worker\n" {
		t.Errorf("the pod printed %q", got)
	}
	node.removeImage(t, worker)
	node.collect(t)
	if node.imageStatus(t, a.ref) == nil {
		t.Error("the bundle went with a member")
	}
	if got := node.runPod(t, a.ref); got != "web\n" {
		t.Errorf("the pod printed %q", got)
	}
	node.removeImage(t, a.ref)
	await(t, "all is collected", 30*time.Second, func() bool {
		node.collect(t)
		return len(node.listImages(t)) == 0 && !slices.Contains(node.blobs(t), a.bundle.members[1].node.desc.Digest.String())
	})
}

// TestInsidePods: each pod pulls with its own secret, and what one was shown helps the other to nothing.
func TestInsidePods(t *testing.T) {
	bundle := newApp(t)
	secrets := []login{{"blue", "canary of blue"}, {"red", "canary of red"}}
	users := userOfAll(bundle, secrets[0])
	maps.Copy(users, userOfAll(bundle, secrets[1]))
	a := publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle)
	node := startInsideCRI(t, a.hosts(t), nil)
	for _, l := range secrets {
		node.pullImage(t, a.ref, l.auth())
		asked := a.tokens.requests()
		if len(asked) == 0 {
			t.Errorf("%s was not asked for", l.username)
		}
		for _, line := range asked {
			if line.User != l.username {
				t.Errorf("for %s: token request %+v", l.username, line)
			}
		}
	}
	for name, auth := range map[string]*runtime.AuthConfig{"none": nil, "wrong": (login{"blue", "wrong"}).auth()} {
		if _, err := node.tryPullImage(t, a.ref, auth); err == nil || leaks(err.Error()) {
			t.Errorf("%s secret: %v", name, err)
		}
	}
}

// TestInsideRights: that another pod's pull brought the members helps nobody who may not read them.
func TestInsideRights(t *testing.T) {
	bundle := newApp(t)
	blue, green := login{"blue", "canary of blue"}, login{"green", "canary of green"}
	users := userOfAll(bundle, blue)
	users[green.username] = user{password: green.password, rights: pulls("org/app", "org/app/worker")}
	a := publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle)
	node := startInsideCRI(t, a.hosts(t), nil)
	node.pullImage(t, a.ref, blue.auth())
	if _, err := node.tryPullImage(t, a.ref, green.auth()); err == nil || !strings.Contains(err.Error(), "org/app/web denied") || leaks(err.Error()) {
		t.Errorf("who may not read a member: %v", err)
	}
	a.requests()
	node.pullImage(t, a.ref, blue.auth())
	if got := only(a.requests(), func(r request) bool { return r.Method == "GET" && r.Status < 300 }); len(got) > 0 {
		t.Errorf("what was there was fetched again: %+v", got)
	}
}

// TestInsideMemberRecords: where the operator asks for them, CRI lists each member under its own repository.
func TestInsideMemberRecords(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	node := startInsideCRI(t, a.hosts(t), nil, `member_records = ["k8s.io"]`)
	node.pullImage(t, a.ref, nil)
	for _, name := range a.records() {
		await(t, "CRI knows "+name, 10*time.Second, func() bool { return node.imageStatus(t, name) != nil })
	}
}
