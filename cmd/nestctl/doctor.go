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
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/registry"
)

// newDoctor returns the command. References are parsed before anything is
// checked, so that a typing mistake ends it at once.
func newDoctor() *cobra.Command {
	o := doctor.Options{Credentials: userStores(new(registry.Metrics))}
	c := &cobra.Command{
		Use:   "doctor [REF...]",
		Args:  cobra.ArbitraryArgs,
		Short: "Find out why programs of this node do not pull nested bundles through the gateway",
		Long: `Checks the configurations of the gateway and of the programs that it is installed
for, certificates, proxies and credentials, and sends the gateway a request for
each registry. Prints each problem and how to fix it. Pulls the manifests of each
REF and of its members as each program does, and prints a table of the results.
The exit status is 1 when there is a problem.`,
		Example: `  nestctl doctor
  nestctl doctor registry.example.com/org/app:v1`,
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
	flags.StringVar(&o.Config, "config", config.Path, "configuration `file` of the gateway")
	flags.StringVar(&o.ContainerdConfig, "containerd-config", "/etc/containerd/config.toml", "configuration `file` of containerd")
	flags.StringVar(&o.Root, "root", "", "check the image in this `directory` instead of this node; running services are not checked")
	return c
}

// errProblems ends the command when there are problems, which have been printed
// by then.
var errProblems = errors.New("there are problems; fix them in this order, and run nestctl doctor again")

func printFound(out io.Writer, style terminal.Style, line string) {
	fmt.Fprintln(out, terminal.Of(out).Lead(style, sanitize.URLs(line)))
}

// runDoctor prints each problem as it is found, because later checks may wait
// for the network.
func runDoctor(ctx context.Context, out io.Writer, o doctor.Options) error {
	o.Note = func(p doctor.Problem) { printFound(out, terminal.Note, p.Note()) }
	var printed error
	o.Table = func(t doctor.Table) { printed = t.Print(out) }
	found, err := doctor.Look(ctx, o, func(p doctor.Problem) { printFound(out, terminal.Bad, p.String()) })
	switch err = errors.Join(err, printed); {
	case err != nil:
		return err
	case found:
		return errProblems
	}
	_, err = fmt.Fprintln(out, "no problem found")
	return err
}
