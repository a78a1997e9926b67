package auth

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestTokenEndpointRedirectStatuses: no redirect of a token endpoint to another origin is followed, whatever it is
// called, neither with a password nor with an identity token.
func TestTokenEndpointRedirectStatuses(t *testing.T) {
	t.Parallel()
	evil := registrytest.New()
	t.Cleanup(evil.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, credential := range []Credential{withPassword, withIdentity, anonymous} {
			s := newScene(t, map[string]Credential{"": credential}, registrytest.WithTokenAuth())
			s.Intercept(registrytest.Answer(status, http.Header{"Location": {evil.URL() + "/token"}}, registrytest.Of(registrytest.KindToken)))
			wantError(t, s.pull(ctx(), "p"), "refused to follow its redirect to "+evil.URL())
		}
	}
	if n := evil.Count(); n > 0 {
		t.Errorf("%d requests to the other origin", n)
	}
}

// TestHelperOfAnotherUser: a helper that somebody else than root or the caller owns, or whose directory is theirs, is
// not started.
func TestHelperOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	for _, which := range []string{"directory", "program", "nothing"} {
		dir := filepath.Join(t.TempDir(), which)
		program := filepath.Join(dir, "docker-credential-refused")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(program, []byte("#!/bin/sh\ncat >/dev/null\necho credentials not found in native keychain\nexit 1\n"), 0o755)); err != nil {
			t.Fatal(err)
		}
		if owned, ok := map[string]string{"directory": dir, "program": program}[which]; ok {
			if err := os.Chown(owned, 65533, 0); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", dir+string(os.PathListSeparator)+"/usr/bin:/bin")
		metrics := new(Metrics)
		_, err := lookupWith(ctx(), t, "refused", StoresOptions{Metrics: metrics})
		if which == "nothing" {
			if err != nil || metrics.HelperRuns.Load() != 1 {
				t.Errorf("the caller's own: %v", err)
			}
			continue
		}
		wantError(t, err, "belongs to")
		if runs := metrics.HelperRuns.Load(); runs != 0 {
			t.Errorf("%s of another user: %d runs", which, runs)
		}
	}
}

// TestHelperAnswersAreKept: an answer for minutes, "none" for seconds, a failure not at all; and a helper that hangs
// ends before the kubelet, which waits for 50 seconds, loses patience.
func TestHelperAnswersAreKept(t *testing.T) {
	t.Parallel()
	for helper, want := range map[string]time.Duration{"answers": helperKeep, "knows-none": 30 * time.Second, "is-broken": 0} {
		synctest.Test(t, func(t *testing.T) {
			var metrics Metrics
			stores := NewStores(StoresOptions{Inline: Secret(fmt.Sprintf(`{"credsStore":%q}`, helper)), Metrics: &metrics})
			lookup := func() int64 {
				if _, err := stores.Lookup(t.Context(), repository(t, "reg/a")); (err != nil) != (want == 0) {
					t.Error(err)
				}
				return metrics.HelperRuns.Load()
			}
			runs := []int64{lookup()}
			time.Sleep(max(0, want-time.Nanosecond))
			runs = append(runs, lookup())
			time.Sleep(time.Nanosecond)
			if runs = append(runs, lookup()); !slices.Equal(runs, []int64{1, 1, 2}) && want > 0 || want == 0 && !slices.Equal(runs, []int64{1, 2, 3}) {
				t.Errorf("%s: %v runs at once, just before and after %v", helper, runs, want)
			}
		})
	}
	if d := NewStores(StoresOptions{}).helpers.timeout; d <= 0 || d >= 50*time.Second {
		t.Errorf("helpers have %v", d)
	}
}

// TestHelperIsToldNoSecret: neither the arguments nor the environment of a helper has what the daemon's own has.
func TestHelperIsToldNoSecret(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "docker-credential-curious")
	script := "#!/bin/sh\ncat >/dev/null\nenv >" + program + ".env\necho \"$@\" >" + program + ".args\necho '{\"Username\":\"u\",\"Secret\":\"s\"}'\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+"/usr/bin:/bin")
	t.Setenv("DOCKER_AUTH_CONFIG", `{"auths":{"other":{"auth":"`+secret+`"}}}`)
	t.Setenv("HARMLESS", "yes")
	if _, err := lookupWith(ctx(), t, "curious", StoresOptions{}); err != nil {
		t.Fatal(err)
	}
	env := string(must[[]byte](t)(os.ReadFile(program + ".env")))
	args := string(must[[]byte](t)(os.ReadFile(program + ".args")))
	if !strings.Contains(env, "HARMLESS=yes") || strings.Contains(env, secret) || strings.Contains(env, "DOCKER_AUTH_CONFIG") || args != "get\n" {
		t.Errorf("arguments %q, environment\n%s", args, env)
	}
}
