package registry_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Whether a repository holds a tag, asked with the credential that docker login has left for it.
func ExampleClient_Head() {
	client := registry.New(registry.Options{
		Credentials: auth.NewStores(auth.StoresFromEnvironment()),
		HostsDir:    "/etc/containerd/certs.d",
	})
	defer client.CloseIdleConnections()

	repository, err := auth.ParseRepository("registry.example.com/org/app")
	if err != nil {
		log.Fatal(err)
	}
	header, err := client.Head(context.Background(), repository, "manifests/v1", "*/*")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Get("Docker-Content-Digest"))
}
