package integration

import (
	"fmt"
	"path/filepath"
	"testing"
)

// startInside starts containerd with the plugin in it, and the credentials of an app's repositories.
func startInside(t *testing.T, logins map[string]login) *containerd {
	t.Helper()
	return startDaemon(t, inside, func(string) string { return pluginConfig(t, logins) }, criPlugins...)
}

func pluginConfig(t *testing.T, logins map[string]login) string {
	return fmt.Sprintf("[plugins.\"io.containerd.internal.v1.nested\"]\ndocker_config = [%q]\n", filepath.Join(dockerConfig(t, logins, nil), "config.json"))
}

// TestInsidePulls: ctr of containerd with the plugin pulls a bundle whole, with a user for each repository.
func TestInsidePulls(t *testing.T) {
	a := publish(t, newApp(t))
	daemon := startInside(t, a.logins)
	t.Log(daemon.ctr(t, "image", "pull", "--plain-http", a.ref))
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
	a.checkTokens(t)
	t.Log(daemon.images(t), daemon.blobs(t))
	for _, r := range a.requests() {
		t.Logf("%+v", r)
	}
	t.Log(daemon.ctr(t, "content", "ls"))
}
