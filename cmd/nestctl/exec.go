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
		Use:                   "exec [--registry HOST]... -- COMMAND [ARG]...",
		DisableFlagsInUseLine: true, // the flags after -- are the command's
		Short:                 "Run another client of registries so that it pulls and pushes nested indexes",
		Long: `The command's requests to the registries pass through nestctl. Content that the
repository of a nested index does not have is fetched from the index's members,
and nested indexes that the command pushes are published. The command logs in as
it always does; members are fetched with your Docker credentials. Requests to
other hosts pass through unread.

The registries are those of --registry. Without it they are those of the
references among the arguments: host/name, docker://host/name, https://host. A
host has a dot or a port.

The command gets a proxy on loopback with a password, and trusts a CA that is
made for these registries and this run (HTTPS_PROXY, SSL_CERT_FILE and similar
variables). A proxy, NO_PROXY and root certificates that were set before still
apply.

The exit status is that of the command: 128 plus the number of the signal that
ended it, 127 when the command was not found, 126 when it cannot be executed.
Registries on loopback cannot be intercepted, nor can Go programs on macOS and
Windows.`,
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
	c.Flags().StringArrayVar(&registries, "registry", nil, "registry, `host[:port]`, to intercept requests to (repeatable)")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list each request, and where its answer came from, on standard error")
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
