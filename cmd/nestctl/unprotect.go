package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

func newIndexUnprotect(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "unprotect REF",
		Short: "Delete the tags that keep an index's members from the registry's clean-up",
		Long: `Delete the tags nested-<short digest of the index> in the members' repositories,
for an index that is retired: registry/org/app@sha256:... when its tag has moved
on. Members keep the other tags that they have.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.unprotect(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
}

func (s *settings) unprotect(ctx context.Context, out io.Writer, ref string) (err error) {
	b, walked, err := s.walk(ctx, ref, "", true, nil)
	if err != nil {
		return err
	}
	registries, closeAll, err := s.around(b.Repository, new(registry.Metrics))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	for _, n := range append(walked.MemberNodes(), ownEntries(walked.Root)...) {
		for _, at := range slices.Compact([]auth.Repository{n.Repository, b.Found(n)}) { // a copy may be protected above
			for _, tag := range nested.Protect(walked.Root.Digest).Tags(n.Stored().Digest) {
				if err := deleteTag(ctx, registries, at, tag, out); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ownEntries are the manifests and indexes in the repositories of nested
// indexes that those name.
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

// deleteTag deletes a tag, and says so when it was there.
func deleteTag(ctx context.Context, registries *registry.Client, at auth.Repository, tag string, out io.Writer) error {
	switch err := registries.Delete(ctx, at, "manifests/"+tag); {
	case errdefs.IsNotFound(err):
		return nil
	case errdefs.IsNotImplemented(err):
		return fmt.Errorf("tag %s: %w; the registry has to be configured to delete (distribution: storage.delete.enabled)", tag, err)
	case err != nil:
		return fmt.Errorf("tag %s: %w", tag, err)
	}
	_, err := fmt.Fprintf(out, "deleted %s:%s\n", at, tag)
	return err
}
