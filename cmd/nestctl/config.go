package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/sanitize"
)

// newConfig returns the commands that need no installation: a configuration is
// written and checked before it is installed.
func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:     "config",
		Short:   "Print or check the configuration of the gateway and of a front",
		Example: "  nestctl config default > config.toml\n  nestctl config check config.toml",
		Args:    cobra.NoArgs,
	}
	c.AddCommand(&cobra.Command{
		Use:     "default",
		Short:   "Print a configuration file with all keys, their defaults and what they mean",
		Example: "  nestctl config default > config.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := config.Default()
			_, err := io.WriteString(cmd.OutOrStdout(), c.Render())
			return err
		},
	}, &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Report all mistakes in a configuration file (default " + config.Path + ")",
		Example: "  nestctl config check config.toml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := config.Path
			if len(args) > 0 {
				file = args[0]
			}
			return checkConfig(cmd.OutOrStdout(), cmd.ErrOrStderr(), file)
		},
	})
	return c
}

// checkConfig prints each problem of a file on a line of its own, so that all
// can be corrected at once.
func checkConfig(stdout, stderr io.Writer, file string) error {
	_, err := config.Load(file)
	var bad *config.Error
	switch {
	case err == nil:
		_, err = fmt.Fprintln(stdout, sanitize.Text(file)+" is valid")
		return err
	case !errors.As(err, &bad):
		return err
	}
	for _, p := range bad.Problems {
		fmt.Fprintln(stderr, sanitize.Text(sanitize.URLs(p.String())))
	}
	if bad.More > 0 {
		fmt.Fprintln(stderr, bad.Rest())
	}
	return fmt.Errorf("%s: %s", file, amount.Count(len(bad.Problems)+bad.More, "problem"))
}
