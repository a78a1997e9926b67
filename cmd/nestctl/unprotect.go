package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/registry"
)

// newIndexUnprotect returns the command. The index itself stays: prune deletes it.
func newIndexUnprotect(s *settings) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "unprotect REF",
		Short: "Delete the tags that keep an index's members from the registry's clean-up",
		Long: `Delete the tags nested-<short digest of the index> in the members' repositories,
for an index that is retired. When its tag has moved, name it by digest:
registry/org/app@sha256:... Other tags stay, and those that another index needs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0])
			if err != nil {
				return err
			}
			client, closeAll, err := s.around(ref.Repository(), new(registry.Metrics))
			if err != nil {
				return err
			}
			return errors.Join(prune.Unprotect(cmd.Context(), client, ref, dryRun, linesTo(cmd.OutOrStdout())), closeAll())
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print the tags, and delete none")
	return c
}
