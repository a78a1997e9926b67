package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// newUninstall returns the command. --stay is for a DaemonSet: Kubernetes starts
// its containers again when they end, and the image has no other program that
// would wait.
func newUninstall() *cobra.Command {
	var root string
	var purge, stay bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Undo nestctl install",
		Long: `Restores the files that were there before nestctl install, and removes those that
it made. Files that were edited since are left as they are.`,
		Example: `  nestctl uninstall --purge`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := runUninstall(cmd.Context(), cmd.OutOrStdout(), root, purge)
			if err == nil && stay {
				<-cmd.Context().Done()
			}
			return err
		},
	}
	c.Flags().StringVar(&root, "root", "", "uninstall from the image in this `directory`, instead of from this node")
	c.Flags().BoolVar(&purge, "purge", false, "also remove the gateway's location cache, "+config.Default().Gateway.StateDir)
	c.Flags().BoolVar(&stay, "stay", false, "keep running until SIGTERM; for containers")
	return c
}

// runUninstall fails when edited files were left, because a script would
// otherwise believe that the node is as before.
func runUninstall(ctx context.Context, out io.Writer, root string, purge bool) error {
	done, err := node.Uninstall(ctx, root, purge)
	if err != nil {
		return err
	}
	printLines(out, done.Lines())
	if len(done.Left) > 0 {
		return errors.New("files have been edited since they were installed; see the files left above, and remove them yourself")
	}
	if len(done.Paths()) == 0 {
		fmt.Fprintln(out, "nothing is installed")
	}
	return nil
}
