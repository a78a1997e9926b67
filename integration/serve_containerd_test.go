package integration

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	contentstore "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	localstore "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
)

// containerdResolver is containerd's own, with the user's credential for the replicas.
func (r *replicas) containerdResolver(t testing.TB) remotes.Resolver {
	t.Helper()
	client := r.certificate.client(t, "")
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(string) (string, string, error) {
		return r.who.username, r.who.password, nil
	}))
	return docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithClient(client), docker.WithAuthorizer(authorizer))})
}

// containerdPull pulls all that a reference leads to into a store.
func containerdPull(ctx context.Context, resolver remotes.Resolver, ref, dir string) error {
	store, err := localstore.NewStore(dir)
	if err != nil {
		return err
	}
	name, desc, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return err
	}
	return images.Dispatch(ctx, images.Handlers(remotes.FetchHandler(store, fetcher), images.ChildrenHandler(store)), nil, desc)
}

// containerdPush pushes an image to a tag.
func containerdPush(ctx context.Context, resolver remotes.Resolver, ref string, image node) error {
	pusher, err := resolver.Pusher(ctx, ref)
	if err != nil {
		return err
	}
	for _, part := range append(image.blobs[:len(image.blobs):len(image.blobs)], image.content) {
		w, err := pusher.Push(ctx, part.desc)
		if errdefs.IsAlreadyExists(err) {
			continue
		}
		if err == nil {
			err = contentstore.Copy(ctx, w, bytes.NewReader(part.data), part.desc.Size, part.desc.Digest)
		}
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("%s: %w", part.desc.Digest, err)
		}
	}
	return nil
}
