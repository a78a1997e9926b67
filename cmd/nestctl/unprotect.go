package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// newIndexUnprotect returns the command. The index itself stays: deleting it is
// up to the registry's own tools.
func newIndexUnprotect(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "unprotect REF",
		Short: "Delete the tags that keep an index's members from the registry's clean-up",
		Long: `Delete the tags nested-<short digest of the index> in the members' repositories,
for an index that is retired. When its tag has moved, name it by digest:
registry/org/app@sha256:... Other tags of the members stay.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.unprotect(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
}

func (s *settings) unprotect(ctx context.Context, out io.Writer, arg string) (err error) {
	ref, err := parseRef(arg)
	if err != nil {
		return err
	}
	client, closeAll, err := s.around(ref.Repository(), new(registry.Metrics))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{Complete: true}), ref)
	if err != nil {
		return err
	}
	return bundle.Unprotect(ctx, b, client, func(at auth.Repository, tag string) error {
		_, err := fmt.Fprintf(out, "deleted %s:%s\n", at, tag)
		return err
	})
}
