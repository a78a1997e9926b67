package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/intercept"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
)

func newExec() *cobra.Command {
	var registries []string
	var verbose bool
	c := &cobra.Command{
		Use:   "exec [--registry HOST]... -- COMMAND [ARG]...",
		Short: "Run another client of registries, whose requests pass through nestctl",
		Long: `Run another client of registries. What it asks of the registries passes through
nestctl; what it asks of other hosts passes unseen. The registries are those of
--registry, else those of the references among the arguments: host/name,
docker://host/name, oci://host/name, https://host. A host has a dot or a port.

The command gets a proxy on loopback (HTTPS_PROXY, HTTP_PROXY) with a password,
and SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS and
GIT_SSL_CAINFO with what they named before, else the system's roots, and a CA
that is for these registries and ends with the command. A proxy and a NO_PROXY
that were set before are obeyed. A registry whose own certificate is not trusted
stays so: name its CA in SSL_CERT_FILE.

Standard input and output, the terminal and the credentials are the command's,
and so is the exit status: 128 and the number after a signal, 127 when there is
no such command, 126 when it cannot be executed. A registry on loopback, and any
on macOS and Windows, cannot be reached so: use nestctl serve.`,
		Example: `  nestctl exec -- crane pull registry.example.com/org/app:v1 app.tar
  nestctl exec --registry registry.example.com -- ./release.sh`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, err := interceptedRegistries(registries, args[1:])
			if err != nil {
				return err
			}
			return execute(cmd, args, named, verbose)
		},
	}
	c.Flags().SetInterspersed(false) // what follows the command is the command's
	c.Flags().StringArrayVar(&registries, "registry", nil, "a registry, host or host:port; repeatable")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list what is asked and answered, on standard error")
	return c
}

// interceptedRegistries are those of the flags, or else those among a command's
// arguments.
func interceptedRegistries(flags, arguments []string) ([]intercept.Registry, error) {
	var named []intercept.Registry
	for _, flag := range flags {
		r, err := intercept.ParseRegistry(flag)
		if err != nil {
			return nil, usage.Errorf("--registry: %w", err)
		}
		named = append(named, r)
	}
	if len(flags) == 0 {
		named = intercept.RegistriesIn(arguments)
	}
	return named, intercept.Check(named)
}

// execute runs a command.
func execute(cmd *cobra.Command, args []string, registries []intercept.Registry, verbose bool) error {
	upstream, err := intercept.NewUpstream(os.Environ(), nil)
	if err != nil {
		return err
	}
	base := upstream.Transport()
	defer base.CloseIdleConnections()
	say := func(line string) {
		fmt.Fprintln(cmd.ErrOrStderr(), "nestctl: "+sanitize.Text(sanitize.URLs(line)))
	}
	o := intercept.Options{Registries: registries, Transport: base, Upstream: upstream, Report: say}
	if verbose {
		o.Asked = say
	}
	return intercept.Run(intercept.Command{Arguments: args, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr()}, o)
}

// ownStatus is the exit status of a command that ran and said itself what was
// wrong; 0 for other errors.
func ownStatus(err error) int {
	if ended, ok := errors.AsType[*intercept.ExitError](err); ok && ended.Err == nil {
		return ended.Status
	}
	return 0
}
