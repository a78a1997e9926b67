package layout_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// A pull into a layout, and what can be read from that.
func ExampleCreate() {
	server := registrytest.New()
	defer server.Close()
	web := server.Image("org/app/web", registrytest.TarLayer(map[string]string{"index.html": "hello"}))
	server.Tag("org/app", "v1", server.Index("org/app", registrytest.Member(web, "web")).Digest)
	dir, err := os.MkdirTemp("", "layout-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "app")

	if err = pull(ctx, server.Host()+"/org/app:v1", path); err != nil {
		log.Fatal(err)
	}
	place, _ := layout.ParsePlace("oci-layout:" + path + ":v1")
	source, err := layout.Open(ctx, place)
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	b, err := source.Bundle(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Repository.Name(), b.Root.MediaType)
	// Output: org/app application/vnd.oci.image.index.v1+json
}

// pull pulls a bundle into a layout.
func pull(ctx context.Context, arg, dir string) error {
	ref, err := auth.ParseReference(arg)
	if err != nil {
		return err
	}
	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	to, err := layout.Create(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{Store: to, Complete: true}), ref)
	if err != nil {
		return err
	}
	_, err = bundle.Pull(ctx, b, to, ref.String(), bundle.PullOptions{})
	return err
}
