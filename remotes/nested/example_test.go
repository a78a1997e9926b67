package nested_test

import (
	"context"
	"fmt"
	"log"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// containerd's own resolver, wrapped, follows child namespaces. It has one
// credential for a registry.
func ExampleNew() {
	resolver := nested.New(docker.NewResolver(docker.ResolverOptions{}), nested.Options{})
	name, desc, err := resolver.Resolve(context.Background(), "registry.example.com/org/app:v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(name, desc.Digest)
}

// A pull into containerd with a credential and a token per repository, from
// the Docker credential stores. containerd's client fetches the first member
// that fits the platform; its transfer service and nestctl fetch all.
func ExampleNew_pull() {
	c, err := client.New("/run/containerd/containerd.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	base := registry.New(registry.Options{
		Credentials: auth.NewStores(auth.StoresFromEnvironment()),
		HostsDir:    "/etc/containerd/certs.d",
	})
	resolver := nested.New(base, nested.Options{Store: c.ContentStore()})

	ctx := namespaces.WithNamespace(context.Background(), "default")
	image, err := c.Pull(ctx, "registry.example.com/org/app:v1", client.WithResolver(resolver), client.WithPullUnpack)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(image.Name())
}
