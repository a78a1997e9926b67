package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/doctor"
	"github.com/nestedoci/nested/internal/sanitize"
)

func newDoctor() *cobra.Command {
	var o doctor.Options
	c := &cobra.Command{
		Use:   "doctor [REF...]",
		Args:  cobra.ArbitraryArgs,
		Short: "Find out why containerd does not pull nested bundles through the gateway",
		Long: "Looks at the configurations of the gateway and of containerd, at hosts.toml, certificates, proxies and\n" +
			"credentials, asks the gateway for each registry, and pulls the manifests of each REF and its members through\n" +
			"it. Prints each problem with what puts it right; the exit status is 1 when there is one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				ref, err := parseRef(arg)
				if err != nil {
					return err
				}
				o.References = append(o.References, ref)
			}
			return runDoctor(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Config, "config", config.Path, "the gateway's configuration")
	flags.StringVar(&o.ContainerdConfig, "containerd-config", "/etc/containerd/config.toml", "containerd's configuration")
	flags.StringVar(&o.Root, "root", "", "directory of an image to look at, in place of this node; what runs is not asked")
	return c
}

// errProblems ends a doctor that found something; what, is printed.
var errProblems = errors.New("there are problems; put them right from the first on, and run nestctl doctor again")

func runDoctor(ctx context.Context, out io.Writer, o doctor.Options) error {
	found, err := doctor.Look(ctx, o, func(p doctor.Problem) {
		fmt.Fprintln(out, sanitize.Text(sanitize.URLs(p.String())))
	})
	switch {
	case err != nil:
		return err
	case found:
		return errProblems
	}
	_, err = fmt.Fprintln(out, "no problem found")
	return err
}
