package bundle_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// reference reads a reference that is known to be one.
func reference(s string) auth.Reference {
	ref, err := auth.ParseReference(s)
	if err != nil {
		log.Fatal(err)
	}
	return ref
}

// published is a registry with the bundle org/app:v1, whose members are web and
// tools/cli.
func published() *registrytest.Registry {
	r := registrytest.New()
	r.Intercept(r.Pushes(false)) // it may be pushed to
	web := r.Image("org/app/web", registrytest.TarLayer(map[string]string{"index.html": "hello"}))
	cli := r.Image("org/app/tools/cli", registrytest.TarLayer(map[string]string{"cli": "#!/bin/sh"}))
	r.Tag("org/app/web", "v1", web.Digest)
	index := r.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(cli, "tools/cli"))
	r.Tag("org/app", "v1", index.Digest)
	return r
}

// A walk reads the manifests and indexes of a bundle, and returns what it found.
func ExampleBundle_Walk() {
	server := published()
	defer server.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{
		Credentials: auth.Sources{}, // auth.NewStores(auth.StoresFromEnvironment()) are the user's
		PlainHTTP:   true,
	})
	defer client.CloseIdleConnections()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{}), reference(server.Host()+"/org/app:v1"))
	if err != nil {
		log.Fatal(err)
	}
	walked, err := b.Walk(ctx, bundle.Options{}, bundle.Visitor{})
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range walked.MemberNodes() {
		fmt.Println(member.Namespace, "is in", b.Found(member).Name())
	}
	// Output:
	// tools/cli is in org/app/tools/cli
	// web is in org/app/web
}

// A visitor does something with everything that a walk leads to, here with configs
// and layers, too.
func ExampleVisitor() {
	server := published()
	defer server.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{}), reference(server.Host()+"/org/app:v1"))
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan *bundle.Node, 100)
	options := bundle.Options{Blobs: true, Selection: bundle.Selection{Members: []string{"web"}}}
	_, err = b.Walk(ctx, options, bundle.Visitor{Done: func(_ context.Context, n *bundle.Node) error {
		done <- n
		return nil
	}})
	close(done)
	if err != nil {
		log.Fatal(err)
	}
	for n := range done {
		fmt.Println(n.Repository.Name(), n.MediaType)
	}
	// Unordered output:
	// org/app/web application/vnd.oci.image.config.v1+json
	// org/app/web application/vnd.oci.image.layer.v1.tar+gzip
	// org/app/web application/vnd.oci.image.manifest.v1+json
	// org/app application/vnd.oci.image.index.v1+json
}

// A copy brings a bundle with its members to another repository.
func ExampleCopy() {
	from, to := published(), registrytest.New()
	to.Intercept(to.Pushes(false)) // it may be pushed to
	defer from.Close()
	defer to.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{}), reference(from.Host()+"/org/app:v1"))
	if err != nil {
		log.Fatal(err)
	}
	dst := reference(to.Host() + "/prod/app:v1")
	copied, err := bundle.Copy(ctx, b, client, dst.Repository(), dst.Tag(), bundle.CopyOptions{From: client})
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range copied.MemberNodes() {
		fmt.Println(member.Namespace, "copied")
	}
	fmt.Println(copied.Uploaded, "blobs, as", copied.Strategy)
	// Output:
	// tools/cli copied
	// web copied
	// 4 blobs, as carrier
}

// Tools that know nothing of child namespaces get the members' own references.
func ExampleBundle_Pinned() {
	server := published()
	defer server.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{}), reference(server.Host()+"/org/app:v1"))
	if err != nil {
		log.Fatal(err)
	}
	walked, err := b.Walk(ctx, bundle.Options{}, bundle.Visitor{})
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range b.Pinned(walked) {
		fmt.Println(member.Namespace, "is", member.Repository.Name()+"@"+member.Digest.Algorithm().String()+":…")
	}
	// Output:
	// tools/cli is org/app/tools/cli@sha256:…
	// web is org/app/web@sha256:…
}

// An index that is there gets another member, under another tag.
func ExampleEditIndex() {
	server := published()
	defer server.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	index, err := bundle.EditIndex(ctx, client, reference(server.Host()+"/org/app:v1"))
	if err != nil {
		log.Fatal(err)
	}
	if err = index.Remove("tools/cli"); err != nil {
		log.Fatal(err)
	}
	strategy, err := index.Publish(ctx, []string{"v2"}, bundle.PublishOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(index.Members()), "member, as", strategy)
	// Output: 1 member, as carrier
}

// An index of images that are in repositories below its own.
func ExampleNewIndex() {
	server := published()
	defer server.Close()
	ctx := context.Background()

	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	dst := reference(server.Host() + "/org/app:v2")
	index := bundle.NewIndex(client, dst.Repository())
	if err := index.Add(ctx, []bundle.IndexSource{{Reference: reference(server.Host() + "/org/app/web:v1")}}, bundle.AddOptions{}); err != nil {
		log.Fatal(err)
	}
	strategy, err := index.Publish(ctx, []string{dst.Tag()}, bundle.PublishOptions{Strategy: nested.Reference})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(index.Members()), "member, as", strategy)
	// Output: 1 member, as reference
}
