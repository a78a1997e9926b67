package integration

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	registryclient "github.com/nestedoci/nested/remotes/registry"
)

// TestClientPull: containerd's own client pulls the platforms of one image, each in a child
// repository of its own, through the resolver of the library, and the image runs by the root's name.
func TestClientPull(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newBundle(t, member{"amd64", newImage(t, amd64, "from a child\n", baseLayer(t))}))
	c := daemon.client(t)
	stores := auth.NewStores(auth.StoresOptions{
		Files: []string{filepath.Join(dockerConfig(t, a.logins, nil), "config.json")},
	})
	base := registryclient.New(registryclient.Options{PlainHTTP: true, Credentials: stores})
	defer base.CloseIdleConnections()

	pullAndRun(t, daemon, c, nested.New(base, nested.Options{Store: c.ContentStore()}), a.ref, "from a child\n")
	a.checkTokens(t)
}

// TestClientPullWithContainerdsResolver: the same with containerd's resolver wrapped, whose one
// credential has to do for all repositories.
func TestClientPullWithContainerdsResolver(t *testing.T) {
	daemon := startContainerd(t)
	a := publishAt(t, startRegistry(t, nil), newBundle(t, member{"amd64", newImage(t, amd64, "from a child\n", baseLayer(t))}))
	hosts := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts))
	resolver := nested.New(docker.NewResolver(docker.ResolverOptions{Hosts: hosts}), nested.Options{})
	pullAndRun(t, daemon, daemon.client(t), resolver, a.ref, "from a child\n")
}

func pullAndRun(t testing.TB, daemon *containerd, c *client.Client, resolver remotes.Resolver, ref, want string) {
	t.Helper()
	ctx := namespaces.WithNamespace(context.Background(), daemon.namespace)
	_, err := c.Pull(ctx, ref, client.WithResolver(resolver), client.WithPullUnpack)
	must(t, err)
	if printed := daemon.runImage(t, ref); printed != want {
		t.Errorf("%s printed %q, want %q", ref, printed, want)
	}
}

func (c *containerd) client(t testing.TB) *client.Client {
	t.Helper()
	connected, err := client.New(c.address)
	must(t, err)
	t.Cleanup(func() { must(t, connected.Close()) })
	return connected
}
