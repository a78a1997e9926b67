package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	contentstore "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	registryclient "github.com/nestedoci/nested/remotes/registry"
)

// TestRegistriesPush: into each repository with its own user, in tokens that are for pushing there and nowhere else;
// who may only pull is told so.
func TestRegistriesPush(t *testing.T) {
	app, web := loginOf("org/app"), loginOf("org/app/web")
	tokens := startTokenServer(t, map[string]user{
		app.username: {password: app.password, rights: map[string][]string{"org/app": {"pull", "push"}}},
		web.username: {password: web.password, rights: map[string][]string{"org/app/web": {"pull"}}},
	})
	reg := startRegistry(t, tokens)
	config := dockerConfig(t, map[string]login{reg.host + "/org/app": app, reg.host + "/org/app/web": web}, nil)
	registries := registryclient.New(registryclient.Options{
		Credentials: auth.NewStores(auth.StoresOptions{Files: []string{config + "/config.json"}}),
		PlainHTTP:   true,
	})
	t.Cleanup(registries.CloseIdleConnections)
	push := func(ref string, desc ocispec.Descriptor, data []byte) error {
		t.Helper()
		pusher, err := registries.Pusher(t.Context(), ref)
		must(t, err)
		return pushTo(t, pusher, desc, data)
	}
	artifact := newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1<<16))
	for _, blob := range artifact.blobs {
		must(t, push(reg.ref("org/app", blob.desc.Digest.String()), blob.desc, blob.data))
	}
	must(t, push(reg.ref("org/app", "v1"), artifact.desc, artifact.data))
	token, _ := askToken(t, tokens, app.username, app.password, pullScope("org/app"))
	if answer := reg.get(t, "/v2/org/app/manifests/v1", token); answer.status != 200 || !bytes.Equal(answer.body, artifact.data) {
		t.Errorf("the tag: %d", answer.status)
	}
	if err := push(reg.ref("org/app", "v1"), artifact.desc, artifact.data); !errdefs.IsAlreadyExists(err) {
		t.Errorf("again: %v", err)
	}
	err := push(reg.ref("org/app/web", "v1"), artifact.desc, artifact.data)
	if err == nil || !strings.Contains(err.Error(), reg.host+"/org/app/web denied") || !strings.Contains(err.Error(), "ask for the right to push to it") || leaks(err.Error()) {
		t.Errorf("without the right: %v", err)
	}
	for _, line := range tokens.requests() {
		repository, actions, _ := parseScope(line.Scopes[0])
		want := []string{"pull", "push"}
		if line.Grant == "basic" { // askToken's
			want = want[:1]
		}
		if len(line.Scopes) != 1 || line.User != loginOf(repository).username || !slices.Equal(actions, want) {
			t.Errorf("token request %+v", line)
		}
	}
}

func pushTo(t *testing.T, pusher remotes.Pusher, desc ocispec.Descriptor, data []byte) error {
	t.Helper()
	w, err := pusher.Push(t.Context(), desc)
	if err != nil {
		return err
	}
	defer w.Close()
	return contentstore.Copy(t.Context(), w, bytes.NewReader(data), desc.Size, desc.Digest)
}
