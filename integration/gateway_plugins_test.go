package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGatewayKubeletPlugins: a node of which only the kubelet's plugins know credentials pulls a bundle through the
// gateway, each repository with its own, and each plugin is asked once for a repository.
func TestGatewayKubeletPlugins(t *testing.T) {
	a := publish(t, newApp(t))
	logins := a.logins
	a.logins = nil
	g := startGateway(t, a, "node")
	nestctl, err := exec.LookPath("nestctl")
	must(t, err)
	asked, plugins := filepath.Join(g.root, "asked"), filepath.Join(g.root, "plugins")
	writeFile(t, filepath.Join(plugins, "plugin"), "#!/bin/sh\nset -e\nrequest=$(cat)\necho \"$request\" >>"+asked+"\necho \"$request\" | "+nestctl+" \"$@\"\n")
	must(t, os.Chmod(filepath.Join(plugins, "plugin"), 0o700))
	providers := writeFile(t, filepath.Join(g.root, "providers.yaml"), `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: plugin
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["`+a.host+`"]
  defaultCacheDuration: 1h
  args: [credential-provider, --docker-config, `+dockerConfig(t, logins, nil)+`]
`)
	config := readText(t, g.config)
	g.stop(t)
	writeFile(t, g.config, strings.Replace(config, "[credentials]\n", "[credentials]\nkubelet_credential_providers = \""+providers+"\"\nkubelet_credential_provider_dir = \""+plugins+"\"\n", 1))
	g.boot(t)

	startContainerd(t).pullHosts(t, transfer, g.certsD, a.ref)
	lines := strings.Split(strings.TrimSpace(readText(t, asked)), "\n")
	if want := len(repositories("org/app", a.bundle)); len(lines) != want {
		t.Errorf("the plugin was asked %d times for %d repositories: %q", len(lines), want, lines)
	}
	a.checkTokens(t)
	if leaks(readText(t, g.log)) {
		t.Error("the gateway's log has a secret in it")
	}
}
