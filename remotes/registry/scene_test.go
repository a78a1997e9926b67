package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// parent is the repository of most tests.
const parent = "org/app"

// newRegistry starts a registry that ends with the test, after a look at every request it got. Pulls are tested with
// package nested's scene.
func newRegistry(t *testing.T, options ...registrytest.Option) *registrytest.Registry {
	t.Helper()
	reg := registrytest.New(options...)
	t.Cleanup(reg.Close)
	t.Cleanup(func() {
		for _, q := range reg.Log() {
			if q.Kind == registrytest.KindToken && len(q.Scopes) != 1 {
				t.Errorf("a token request with scopes %q", q.Scopes)
			}
			if q.Kind == registrytest.KindOther {
				t.Errorf("a request that no registry knows: %s", q)
			}
		}
	})
	return reg
}

func repositoryAt(t *testing.T, reg *registrytest.Registry, name string) auth.Repository {
	t.Helper()
	return must(auth.ParseRepository(reg.Host() + "/" + name))
}

// hosts makes a directory with a hosts.toml for a host.
func hosts(t *testing.T, host, toml string) string {
	t.Helper()
	dir := t.TempDir()
	name, port, _ := strings.Cut(host, ":")
	at := filepath.Join(dir, name+"_"+port+"_")
	check(t, os.Mkdir(at, 0o755))
	check(t, os.WriteFile(filepath.Join(at, "hosts.toml"), []byte(toml), 0o600))
	return dir
}

func userPassword(t *testing.T, key, user, password string) auth.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	check(t, os.WriteFile(file, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, key, pair), 0o600))
	return auth.NewStores(auth.StoresOptions{Files: []string{file}})
}

func describe(mediaType string, body []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

func encode(value any) []byte { return must(json.Marshal(value)) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails unless err says all of that, in ASCII, and no secret.
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
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error with control characters or a secret: %q", err)
	}
}
