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
		Short: "Delete the tags that protect an index's members from the registry's clean-up",
		Long: `For an index that is retired: deletes the tags nested-<short digest of the index>
in the members' repositories. When the tag of the index has moved, name the index
by digest: registry/org/app@sha256:... Other tags stay, and so do those that
another index needs.`,
		Example: `  nestctl index unprotect --dry-run registry.example.com/org/app:v1`,
		Args:    cobra.ExactArgs(1),
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
