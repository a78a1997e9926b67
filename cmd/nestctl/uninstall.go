package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
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
	c.Flags().BoolVar(&stay, "stay", false, "wait for SIGTERM afterwards, for a DaemonSet, whose containers are not to end")
	return c
}

// purge removes what the gateway has learnt.
func (i *installer) purge() error {
	state := config.Default().Gateway.StateDir
	there, err := i.disk.isDir(state)
	if err != nil || !there {
		return err
	}
	if err = i.disk.own(filepath.Dir(state)); err != nil {
		return err
	}
	i.done.removed = append(i.done.removed, state)
	return i.disk.root.RemoveAll(i.disk.name(state))
}

// runUninstall uninstalls.
func runUninstall(ctx context.Context, out io.Writer, root string, purge bool) error {
	p, closeDisk, err := openInstaller(root, nil, time.Now())
	if err != nil {
		return err
	}
	defer closeDisk()
	live := hasSystemd(root) && p.hasUnits()
	if live {
		if err := stopUnits(ctx); err != nil {
			return err
		}
	}
	nothing := len(p.record.Files) == 0
	if err := p.drop(slices.Clone(p.record.Files)); err != nil {
		return fmt.Errorf("%w; run the same command again", err)
	}
	if live {
		if err := systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if purge {
		if err := p.purge(); err != nil {
			return err
		}
	}
	p.done.print(out)
	if nothing && p.done.removed == nil {
		fmt.Fprintln(out, "nothing is installed")
	}
	if len(p.done.left) > 0 {
		return errors.New("files were edited since they were installed; see what was left above")
	}
	return nil
}
