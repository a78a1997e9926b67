package registry_test

import (
	"encoding/json"
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
