//go:build unix

package login

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
)

// inPath puts a credential helper "test" into PATH.
func inPath(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return dir
}

// TestHelperIsBounded: a helper that writes without end is not read without end.
func TestHelperIsBounded(t *testing.T) {
	file := inConfig(t, `{"credsStore":"test"}`)
	inPath(t, "cat >/dev/null\nexec cat /dev/zero\n")
	err := login(t, "reg.test")
	if err == nil || !strings.Contains(err.Error(), "run it by hand") {
		t.Error(err)
	}
	if now, _ := os.ReadFile(file); string(now) != `{"credsStore":"test"}` {
		t.Errorf("%s", now)
	}
}

// TestHelperSeesNoOtherSecret: the variable with credentials of all registries is not a helper's business.
func TestHelperSeesNoOtherSecret(t *testing.T) {
	inConfig(t, `{"credsStore":"test"}`)
	dir := inPath(t, `cat >/dev/null; env >"$(dirname "$0")/env"`)
	t.Setenv("DOCKER_AUTH_CONFIG", `{"auths":{"other.test":{"auth":"aHVudGVyOmh1bnRlcg=="}}}`)
	noError(t, login(t, "reg.test"))
	if env, err := os.ReadFile(filepath.Join(dir, "env")); err != nil || !strings.Contains(string(env), "PATH=") || strings.Contains(string(env), "aHVudGVy") {
		t.Errorf("%d bytes, error %v", len(env), err)
	}
}

// TestHelperAndOtherText: a password that would reach a helper changed is refused.
func TestHelperAndOtherText(t *testing.T) {
	inConfig(t, `{"credsStore":"test"}`)
	inPath(t, "cat >/dev/null\n")
	if _, _, err := keyOf(t, "reg.test").Store(t.Context(), auth.UserCredential("user", "p\xe4ss", "")); err == nil || strings.Contains(err.Error(), "ss\"") {
		t.Error(err)
	}
}
