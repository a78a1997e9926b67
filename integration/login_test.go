package integration

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLoginForOthers: what nestctl login writes, for a registry and for a repository, is read by the clients that read
// Docker's file; --debug says nothing of it, and after logout nobody gets in. (crane asks no token server on loopback.)
func TestLoginForOthers(t *testing.T) {
	needs(t, "nestctl", "oras", "regctl", "skopeo")
	const password = `s3cret:"\ä$`
	image := newImage(t, amd64, "web\n", baseLayer(t))
	users := map[string]user{"robot": {password: password, rights: pushes("org/app")}, "other": {password: password, rights: pulls("org/app/web")}}
	reg := registryOptions{serve: (*httptest.Server).Start}.start(t, startTokenServer(t, users))
	reg.pushNode(t, "org/app", "v1", image)
	config := t.TempDir()
	client := newNestctl(t, config)
	in := func(key, name string) {
		t.Helper()
		cmd := client.command(t, "login", "--debug", "--plain-http", "--username", name, "--password-stdin", key)
		cmd.Stdin = strings.NewReader(password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "s3cret") || !strings.Contains(string(out), "logged in to "+key) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	ref := reg.ref("org/app", "v1")
	others := [][]string{
		{"oras", "manifest", "fetch", "--plain-http", ref},
		{"regctl", "--host", "reg=" + reg.host + ",tls=disabled", "manifest", "get", "--format", "raw-body", ref},
		{"skopeo", "inspect", "--tls-verify=false", "--raw", "docker://" + ref},
	}
	gets := func(args []string) error {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + config, "DOCKER_CONFIG=" + config}
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %.500s", err, out)
		}
		return err
	}
	in(reg.host, "robot")
	in(reg.host+"/org/app/web", "other") // it takes nothing from the other key
	for _, args := range others {
		if err := gets(args); err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
	}
	client.run(t, "logout", reg.host)
	for _, args := range others {
		if gets(args) == nil {
			t.Errorf("%s gets in after logout", args[0])
		}
	}
	in(reg.host+"/org/app", "robot")
	if err := gets(others[len(others)-1]); err != nil { // containers' tools know keys of repositories, too
		t.Errorf("skopeo, key of the repository: %v", err)
	}
}
