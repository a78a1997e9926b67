// Package clienttest has what tests of clients of registries need: registries that
// end with the test and are judged (registry.go), images and bundles in them
// (image.go), what was asked of them (requests.go), pulls as containerd does them
// (pull.go), configurations, and checks of errors.
package clienttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// HostsDir returns a directory with a hosts.toml for one host, which is removed
// after the test.
func HostsDir(t testing.TB, host, toml string) string {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, host)
	NoError(t, os.Mkdir(at, 0o755))
	NoError(t, os.WriteFile(filepath.Join(at, "hosts.toml"), []byte(toml), 0o600))
	return dir
}

// PlainHTTP is HostsDir for a registry on loopback that speaks http, where
// containerd would try https first and trust any certificate.
func PlainHTTP(t testing.TB, host string) string {
	t.Helper()
	return HostsDir(t, host, "server = \"http://"+host+"\"\n")
}

// Trusting is HostsDir for a registry that speaks https, with what vouches for it.
func Trusting(t testing.TB, host string, ca []byte) string {
	t.Helper()
	return HostsDir(t, host, fmt.Sprintf("server = \"https://%s\"\nca = %q\n", host, File(t, ca)))
}

// File returns the path of a file, which is removed after the test.
func File(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// Stores returns credential stores over one Docker configuration.
func Stores(t testing.TB, config any) auth.Source {
	t.Helper()
	data, err := json.Marshal(config)
	NoError(t, err)
	return auth.NewStores(auth.StoresOptions{Files: []string{File(t, data)}})
}

// UserPassword returns stores with one credential.
func UserPassword(t testing.TB, key, user, password string) auth.Source {
	t.Helper()
	return Stores(t, map[string]any{"auths": map[string]any{key: Entry(user, password)}})
}

// Entry is an entry of auths.
func Entry(user, password string) any {
	return map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
}

// WantError fails unless err contains all of says, on one line of ASCII, and no
// secret.
func WantError(t testing.TB, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", says)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("error with control characters: %q", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error with a secret: %q", err)
	}
}

// Pauses are those that would have come before requests are made again: nobody
// waits for them. The zero value is ready for use.
type Pauses struct{ sum atomic.Int64 }

// In returns a context in which all pauses are of these.
func (p *Pauses) In(ctx context.Context) context.Context {
	return retry.WithSleep(ctx, func(ctx context.Context, wait time.Duration) bool {
		p.sum.Add(int64(wait))
		return ctx.Err() == nil
	})
}

// Sum is how long all of them together would have taken.
func (p *Pauses) Sum() time.Duration { return time.Duration(p.sum.Load()) }

// NoError fails at once when there is an error.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Await waits until it is so. It fails after 20 seconds, with what is said then.
func Await(t testing.TB, so func() bool, says func() string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(says())
		}
	}
}

// Must is the value, or panics when there is an error.
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Repository is one by its full name.
func Repository(t testing.TB, name string) auth.Repository {
	t.Helper()
	r, err := auth.ParseRepository(name)
	NoError(t, err)
	return r
}
