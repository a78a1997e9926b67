package integration

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// TestPassAsHelper: real `credHelpers`, a key for each repository.
func TestPassAsHelper(t *testing.T) {
	store := newPassStore(t)
	a := publish(t, newApp(t))
	helpers := map[string]string{}
	for key, l := range a.logins {
		helpers[key] = "pass"
		store.store(t, key, l.username, l.password)
	}
	pullWithPass(t, a, store, map[string]any{"credHelpers": helpers})
}

// TestPassAsStore: real `credsStore`, with the markers that `docker login` leaves in `auths`.
func TestPassAsStore(t *testing.T) {
	store := newPassStore(t)
	a := publish(t, newApp(t))
	markers := map[string]any{}
	for key, l := range a.logins {
		markers[key] = map[string]any{}
		store.store(t, key, l.username, l.password)
	}
	pullWithPass(t, a, store, map[string]any{"credsStore": "pass", "auths": markers})
}

func pullWithPass(t *testing.T, a *app, store *passStore, config map[string]any) {
	t.Helper()
	client := newNestctl(t, dockerConfig(t, nil, config), store.env...)
	layout := filepath.Join(t.TempDir(), "layout")
	got := client.run(t, "pull", "--plain-http", "--format", "json", "--debug", "--to", "oci-layout:"+layout, a.ref)
	if leaks(got.stdout + got.stderr) {
		t.Error("a secret was shown")
	}
	if runs := got.summary(t).Requests.HelperRuns; runs != len(a.logins) {
		t.Errorf("%d runs of the helper, want one for each of %d keys", runs, len(a.logins))
	}
	a.checkTokens(t)
	checkLayout(t, layout, a.records()...)
}

// TestIdentityToken: what `docker login` leaves for registries that give one.
func TestIdentityToken(t *testing.T) {
	bundle := newApp(t)
	all := user{identity: "canary identity", rights: pulls(repositories("org/app", bundle)...)}
	a := publishAt(t, startRegistry(t, startTokenServer(t, map[string]user{"carol": all})), bundle)
	auths := map[string]any{a.host: map[string]string{"identitytoken": all.identity, "username": "carol"}}

	client := newNestctl(t, dockerConfig(t, nil, map[string]any{"auths": auths}))
	layout := filepath.Join(t.TempDir(), "layout")
	client.run(t, "pull", "--plain-http", "--to", "oci-layout:"+layout, a.ref)
	checkLayout(t, layout, a.records()...)
	for _, line := range a.tokens.requests() {
		if line.Grant != "refresh_token" || line.User != "carol" {
			t.Errorf("token request %+v", line)
		}
	}
}

// TestConfigFromTheEnvironment: the variable wins over the file, which has nothing of use.
func TestConfigFromTheEnvironment(t *testing.T) {
	a := publish(t, newApp(t))
	auths := map[string]any{}
	for key, l := range a.logins {
		auths[key] = map[string]string{"username": l.username, "password": l.password}
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	must(t, err)
	wrong := dockerConfig(t, map[string]login{a.host: {"nobody", "canary"}}, nil)
	layout := filepath.Join(t.TempDir(), "layout")
	newNestctl(t, wrong, "DOCKER_AUTH_CONFIG="+string(text)).run(t, "pull", "--plain-http", "--to", "oci-layout:"+layout, a.ref)
	a.checkTokens(t)
}
