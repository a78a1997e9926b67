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

func newUninstall() *cobra.Command {
	var root string
	var purge, stay bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take back what nestctl install has done",
		Long: "Brings back the files that were there before nestctl install and removes those that it made.\n" +
			"What somebody has changed since is left alone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := runUninstall(cmd.Context(), cmd.OutOrStdout(), root, purge)
			if err == nil && stay {
				<-cmd.Context().Done()
			}
			return err
		},
	}
	c.Flags().StringVar(&root, "root", "", "directory of an image to uninstall from, in place of this node")
	c.Flags().BoolVar(&purge, "purge", false, "remove "+config.Default().Gateway.StateDir+" too, where the gateway keeps what it has learnt")
	c.Flags().BoolVar(&stay, "stay", false, "go on until SIGTERM, and do nothing; for a container, which is not to end")
	return c
}

func runUninstall(ctx context.Context, out io.Writer, root string, purge bool) error {
	done, err := node.Uninstall(ctx, root, purge)
	if err != nil {
		return err
	}
	printChanges(out, done)
	if len(done.Left) > 0 {
		return errors.New("files were edited since they were installed; see what was left above")
	}
	if len(done.Paths()) == 0 {
		fmt.Fprintln(out, "nothing is installed")
	}
	return nil
}
