package integration

import (
	"net/http"
	"slices"
	"testing"
)

func TestHarnessCRI(t *testing.T) {
	certsD := t.TempDir()
	daemon := startCRI(t, criOptions{certsD: certsD})
	alice := user{password: "secret-a", rights: pulls("org/app")}
	reg := startRegistry(t, startTokenServer(t, map[string]user{"alice": alice}))
	writeHosts(t, certsD, "registry.test", reg.hostsOf())
	base := baseLayer(t)
	index := newIndex(t, newImage(t, amd64, "I am amd64\n", base), newImage(t, arm64, "I am arm64\n", base))
	reg.pushNode(t, "org/app", "v1", index)

	ref := "registry.test/org/app:v1"
	if _, err := daemon.tryPullImage(t, ref, login{"alice", "wrong"}.auth()); err == nil {
		t.Error("pulled with a wrong password")
	}
	id := daemon.pullImage(t, ref, login{"alice", "secret-a"}.auth())
	if config := index.nodes[0].blobs[2].desc.Digest.String(); id != config {
		t.Errorf("id %s, want %s", id, config)
	}
	if got := daemon.runPod(t, ref); got != "I am amd64\n" {
		t.Errorf("the container printed %q", got)
	}
	images := daemon.listImages(t)
	if len(images) != 1 || images[0].Id != id || !slices.Equal(images[0].RepoTags, []string{ref}) {
		t.Errorf("images %v", images)
	}
	if status := daemon.imageStatus(t, ref); status.GetId() != id {
		t.Errorf("status %v", status)
	}
	if log := reg.requests(); !slices.ContainsFunc(log, func(r request) bool { return r.Status == http.StatusOK }) {
		t.Errorf("the registry was not asked: %v", log)
	}

	daemon.removeImage(t, ref)
	if images := daemon.listImages(t); len(images) > 0 || daemon.imageStatus(t, ref) != nil {
		t.Errorf("images are left: %v", images)
	}
}

// TestHarnessCRILocalPull: CRI as it is configured to pull like 1.7.
func TestHarnessCRILocalPull(t *testing.T) {
	certsD := t.TempDir()
	daemon := startCRI(t, criOptions{certsD: certsD, localPull: true})
	reg := startRegistry(t, nil)
	writeHosts(t, certsD, "registry.test", reg.hostsOf())
	reg.pushNode(t, "org/app", "v1", newImage(t, amd64, "hello\n", baseLayer(t)))

	id := daemon.pullImage(t, "registry.test/org/app:v1", nil)
	if got := daemon.runPod(t, id); got != "hello\n" {
		t.Errorf("the container printed %q", got)
	}
}

func TestHarnessHosts(t *testing.T) {
	daemon := startContainerd(t)
	reg := startRegistry(t, nil)
	certsD := t.TempDir()
	ref := "registry.test/org/app:v1"
	for _, with := range []puller{transfer, local} {
		reg.pushNode(t, "org/app", "v1", newImage(t, amd64, string(with), baseLayer(t)))
		if out, err := daemon.tryPullHosts(t, with, t.TempDir(), ref); err == nil {
			t.Errorf("pulled without hosts.toml:\n%s", out)
		}
		writeHosts(t, certsD, "registry.test", reg.hostsOf())
		daemon.pullHosts(t, with, certsD, ref)
		if got := daemon.runImage(t, ref); got != string(with) {
			t.Errorf("the container printed %q, want %q", got, with)
		}
	}
}
