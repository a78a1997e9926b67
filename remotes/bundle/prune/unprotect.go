package prune

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Unprotect deletes the tags that protect an index's members from the
// registry's clean-up, for an index that is retired. Other tags of the members
// stay. deleted is called for each tag that existed. A dry run deletes nothing.
func Unprotect(ctx context.Context, b *bundle.Bundle, client *registry.Client, dryRun bool, deleted func(auth.Repository, string) error) error {
	walked, err := b.Walk(ctx, bundle.Options{}, bundle.Visitor{})
	if err != nil {
		return err
	}
	protection, seen := nested.Protect(walked.Root.Digest), map[string]bool{} // one tag may be that of several paths
	for _, n := range append(walked.MemberNodes(), ownEntries(walked.Root)...) {
		for _, at := range slices.Compact([]auth.Repository{n.Repository, b.Found(n)}) { // a copy may be protected above
			for _, tag := range protection.Tags(n.Stored().Digest) {
				if seen[at.String()+":"+tag] {
					continue
				}
				seen[at.String()+":"+tag] = true
				err := deleteTag(ctx, client, at, tag, dryRun)
				if err == nil {
					err = deleted(at, tag)
				}
				if err != nil && !errdefs.IsNotFound(err) {
					return err
				}
			}
		}
	}
	return nil
}

// ownEntries are the entries of nested indexes in the repositories of those
// indexes themselves.
func ownEntries(root *bundle.Node) []*bundle.Node {
	var own []*bundle.Node
	for _, n := range root.All() {
		if !n.IsNestedIndex() {
			continue
		}
		for _, c := range n.Children {
			if !c.IsMember() && oci.IsManifestOrIndex(c.MediaType) {
				own = append(own, c)
			}
		}
	}
	return own
}

// deleteTag deletes a tag, or looks whether it exists. The class of the error is
// errdefs.ErrNotFound when it does not.
func deleteTag(ctx context.Context, client *registry.Client, at auth.Repository, tag string, dryRun bool) error {
	named, err := client.Digest(ctx, at, tag)
	if err == nil && !dryRun {
		err = client.Delete(ctx, at, "manifests/"+tag)
	}
	switch {
	case errdefs.IsNotImplemented(err):
		return fmt.Errorf("tag %s: %w; the registry has to be configured to delete (distribution: storage.delete.enabled)", tag, err)
	case err != nil:
		return fmt.Errorf("tag %s: %w", tag, err)
	case dryRun:
		return nil
	}
	return stillThere(ctx, client, at, tag, named)
}
