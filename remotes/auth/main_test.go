package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/retry"
)

// TestMain is the fake credential helper when it is started under the name of
// one, and otherwise runs the tests with a directory for helpers in PATH.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "docker-credential-") {
		os.Exit(helperMain(os.Args[0]))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "helpers")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	helperDir = dir
	for _, err := range []error{
		os.Chmod(dir, 0o755),
		os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"), // for helpers built with -race
		os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")),
		installHelper(dir, "answers", answering),
		installHelper(dir, "knows-none", notFound),
		installHelper(dir, "is-broken", helperScript{Stdout: secret, Stderr: secret, Exit: 1}),
	} {
		if err != nil {
			panic(err)
		}
	}

	return leaktest.Checked(m).Run()
}

// secret stands in all secrets of these tests.
const secret = "HUNTER2"

var leaks = []string{
	secret,
	base64.StdEncoding.EncodeToString([]byte("user:" + secret))[:16],
}

// noLeak fails when a secret is to be read in any print or JSON of the values.
func noLeak(t *testing.T, values ...any) {
	t.Helper()
	for _, v := range values {
		prints := []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v), fmt.Sprint(v)}
		if data, err := json.Marshal(v); err == nil {
			prints = append(prints, string(data))
		}
		for _, text := range prints {
			for _, leak := range leaks {
				if strings.Contains(text, leak) {
					t.Errorf("%T shows a secret: %.300s", v, text)
				}
			}
		}
	}
}

// wantError fails unless err says all of that, and no secret.
func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", says)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		noLeak(t, e)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func repository(t *testing.T, s string) Repository {
	t.Helper()
	return must[Repository](t)(ParseRepository(s))
}

// writeFile replaces a file by rename, as those who rotate credentials do.
func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// entry is an entry of auths with user and password.
func entry(user string) string {
	return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+secret)) + `"}`
}

// atOnce returns a context in which nobody waits before a request is made again.
func atOnce(ctx context.Context) context.Context {
	return retry.WithSleep(ctx, func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil })
}
