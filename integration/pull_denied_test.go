package integration

import (
	"maps"
	"path/filepath"
	"strconv"
	"testing"
)

// TestDenied: exit code 3, and an error that tells whose door was closed with which key.
func TestDenied(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	web := a.host + "/org/app/web"
	tests := map[string]struct {
		login login // for org/app/web
		words []string
	}{
		"wrong password": {login{loginOf("org/app/web").username, "canary, but wrong"}, []string{"401"}},
		"unknown user":   {login{"nobody", "canary"}, []string{"401"}},
		"no right":       {loginOf("org/app/worker"), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			logins := maps.Clone(a.logins)
			logins[web] = test.login
			words := append(test.words, "org/app/web", pullScope("org/app/web"), "config.json", web)
			client := newNestctl(t, dockerConfig(t, logins, nil))
			client.fails(t, exitDenied, words, daemon.pull(a.ref)...)
			client.fails(t, exitDenied, words, daemon.pull(a.ref, "--debug")...)
			if images := daemon.images(t); len(images) > 0 {
				t.Errorf("records of a bundle that did not arrive: %q", images)
			}
		})
	}
}

// TestDeniedByParentsCredential: it serves the child when that has none of its own, but here may not.
func TestDeniedByParentsCredential(t *testing.T) {
	a := publish(t, newApp(t))
	delete(a.logins, a.host+"/org/app/web")
	layout := "oci-layout:" + filepath.Join(t.TempDir(), "layout")
	words := []string{"org/app/web", pullScope("org/app/web"), "config.json", a.host + "/org/app"}
	newNestctl(t, dockerConfig(t, a.logins, nil)).fails(t, exitDenied, words, "pull", "--plain-http", "--to", layout, a.ref)
}

func TestDeniedWithoutCredential(t *testing.T) {
	a := publish(t, newApp(t))
	layout := "oci-layout:" + filepath.Join(t.TempDir(), "layout")
	words := []string{"org/app", pullScope("org/app")}
	newNestctl(t, t.TempDir()).fails(t, exitDenied, words, "pull", "--plain-http", "--to", layout, a.ref)
}

// TestDeniedByHelpersCredential: the error names the helper.
func TestDeniedByHelpersCredential(t *testing.T) {
	store := newPassStore(t)
	a := publish(t, newApp(t))
	web := a.host + "/org/app/web"
	store.store(t, web, loginOf("org/app/web").username, "canary, but wrong")
	delete(a.logins, web)

	config := dockerConfig(t, a.logins, map[string]any{"credHelpers": map[string]string{web: "pass"}})
	client := newNestctl(t, config, store.env...)
	words := []string{"org/app/web", pullScope("org/app/web"), "docker-credential-pass", "401"}
	client.fails(t, exitDenied, words, "pull", "--plain-http", "--debug", "--to", "oci-layout:"+filepath.Join(t.TempDir(), "layout"), a.ref)
}

func TestNotFound(t *testing.T) {
	a := publish(t, newApp(t))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	to := "oci-layout:" + filepath.Join(t.TempDir(), "layout")

	client.fails(t, exitNotFound, []string{"org/app"}, "pull", "--plain-http", "--to", to, a.registry.ref("org/app", "v2"))
	client.fails(t, exitNotFound, []string{"web", "worker"}, "pull", "--plain-http", "--to", to, "--member", "wed", a.ref)

	absent := newBundle(t, member{"web", newImage(t, amd64, "absent\n", baseLayer(t))})
	a.pushManifest(t, "org/app", "v3", absent.content)
	client.fails(t, exitNotFound, []string{"org/app/web"}, "pull", "--plain-http", "--to", to, a.registry.ref("org/app", "v3"))
}

// TestInvalidIndex: refused before anything is asked of a child.
func TestInvalidIndex(t *testing.T) {
	daemon := startContainerd(t)
	good := member{"web", newImage(t, amd64, "web\n", baseLayer(t))}
	a := publish(t, newBundle(t, good))
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	for _, namespace := range []string{"../app", "Web", "", "web/", "reg.test:5000/web", "\u202ebew"} {
		bad := newBundle(t, good, member{namespace, newImage(t, amd64, "bad\n", baseLayer(t))})
		a.pushManifest(t, "org/app", "bad", bad.content)
		a.requests()
		words := []string{bad.desc.Digest.String()[:len("sha256:")+12], "manifests[1]", strconv.QuoteToASCII(namespace)}
		client.fails(t, exitInvalid, words, daemon.pull(a.registry.ref("org/app", "bad"))...)
		for _, line := range a.requests() {
			if line.Kind != "base" && line.Repository != "org/app" {
				t.Errorf("namespace %q: request %+v", namespace, line)
			}
		}
	}
	if images := daemon.images(t); len(images) > 0 {
		t.Errorf("images %q", images)
	}
}

func TestNoDaemon(t *testing.T) {
	client := newNestctl(t, t.TempDir())
	absent := filepath.Join(t.TempDir(), "absent.sock")
	client.fails(t, exitFailure, []string{absent, "oci-layout:"}, "pull", "--plain-http", "--address", absent, "127.0.0.1:1/org/app:v1")
	client.fails(t, exitUsage, nil, "pull")
}
