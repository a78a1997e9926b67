package registry_test

import (
	"os"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

func TestMain(m *testing.M) {
	if os.Getenv(proxyTest) != "" {
		os.Exit(m.Run()) // its proxy outlives it
	}
	clienttest.Main(m)
}

// parent is the repository of most tests.
const parent = "org/app"

// object is one of JSON.
type object = map[string]any

// privateRegistry starts one with the usual repositories.
func privateRegistry(t *testing.T, options ...registrytest.Option) (*registrytest.Registry, auth.Source) {
	t.Helper()
	return clienttest.NewPrivateRegistry(t, []string{parent}, options...)
}

// pullFrom pulls the bundle of a registry, by the rule for child namespaces: from
// another repository for each member.
func pullFrom(t *testing.T, host string, options registry.Options) error {
	t.Helper()
	registries := clienttest.NewClient(t, options)
	_, err := clienttest.Pull(nested.New(registries, nested.Options{}), clienttest.NewStore(t), host+"/"+parent+":v1")
	return err
}
