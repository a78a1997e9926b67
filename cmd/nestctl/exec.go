package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/intercept"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport"
)

func newExec(s *settings) *cobra.Command {
	var registries []string
	var verbose bool
	c := &cobra.Command{
		Use:   "exec [--registry HOST]... -- COMMAND [ARG]...",
		Short: "Run another client of registries so that it pulls and pushes nested indexes",
		Long: `Run another client of registries. Its requests to the registries pass through
nestctl, which answers from the members of nested indexes what the repository of
the index does not have, and takes nested indexes that are pushed. The command
logs in as it always does; members are fetched with your Docker credentials.
Requests to other hosts pass unseen.

The registries are those of --registry, else those of the references among the
arguments: host/name, docker://host/name, https://host. A host has a dot or a port.

The command gets a proxy on loopback with a password, and roots with a CA that
is for these registries and ends with it (HTTPS_PROXY, SSL_CERT_FILE and their
like). A proxy, a NO_PROXY and roots that were set before still count.

The exit status is the command's: 128 and the number after a signal, 127 when
there is no such command, 126 when it cannot be executed. A registry on loopback
cannot be intercepted, nor a Go program on macOS and Windows.`,
		Example: `  nestctl exec -- crane pull registry.example.com/org/app:v1 app.tar
  nestctl exec --registry registry.example.com -- ./release.sh`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			selected, err := intercept.Select(registries, args[1:])
			if err != nil {
				return err
			}
			return s.execute(cmd, args, selected, verbose)
		},
	}
	c.Flags().SetInterspersed(false) // what follows the command is the command's
	c.Flags().StringArrayVar(&registries, "registry", nil, "a registry, host or host:port; repeatable")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list what is asked, and answered from where, on standard error")
	return c
}

// execute runs a command.
func (s *settings) execute(cmd *cobra.Command, args []string, registries []intercept.Registry, verbose bool) (err error) {
	upstream, err := intercept.NewUpstream(os.Environ(), nil)
	if err != nil {
		return err
	}
	base := upstream.Transport()
	say := func(line string) {
		fmt.Fprintln(cmd.ErrOrStderr(), "nestctl: "+sanitize.Text(sanitize.URLs(line)))
	}
	follows, err := transport.New(base, s.registryOptions("", new(registry.Metrics)), transport.Options{
		SearchRequests: 100, Prefetch: 64, Apart: true,
		Hopped: func(ctx context.Context, from auth.Repository) { intercept.AnsweredFrom(ctx, from.String()) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, follows.Close()) }()
	o := intercept.Options{Registries: registries, Transport: follows, Upstream: upstream, Report: say}
	if verbose {
		o.Asked = say
	}
	return intercept.Run(intercept.Command{Arguments: args, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()}, o)
}
