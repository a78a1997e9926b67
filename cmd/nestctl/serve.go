package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/daemon"
	"github.com/nestedoci/nested/internal/usage"
)

func newServe(s *settings) *cobra.Command {
	v := config.Default().Serve
	var file string
	c := &cobra.Command{
		Use:   "serve --certificate FILE --registry NAME=REGISTRY...",
		Short: "Stand before registries, so that any client pulls and pushes nested indexes",
		Long: `Stand before registries under names of their own. Any client pulls and pushes
there, with the credentials that it would show the registry; nestctl answers from
the members of nested indexes what the repository of the index does not have.
Flags win over the section [serve] of a configuration file (nestctl config default).`,
		Example: `  nestctl serve --certificate bundles.pem --registry bundles.example.com=registry.example.com`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := daemon.RunServe(cmd.Context(), daemon.ServeOptions{
				Config: file, Flags: config.Flags{Serve: v, Given: cmd.Flags().Changed}, Debug: s.debug, UserAgent: "nestctl/" + version,
			})
			if bad, ok := errors.AsType[*config.Error](err); ok && bad.Problems[0].Line == 0 && strings.HasPrefix(bad.Problems[0].Wrong, "--") {
				return usage.Error{Err: err}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration file (default: none)")
	f.StringVar(&v.Listen, "listen", v.Listen, "address to listen on")
	f.StringVar(&v.Certificate, "certificate", "", "PEM file with the certificate and its key")
	f.StringArrayVar(&v.Registries, "registry", nil, "what to serve, NAME=REGISTRY: each host or host:port (repeatable)")
	f.StringArrayVar(&v.Allow, "allow", nil, "repositories to serve, with everything below them: registry/path with * and ** (repeatable; default all)")
	f.StringArrayVar(&v.SealKeys, "seal-key", nil, "file with 32 bytes in base64; the first seals the addresses of uploads, all open them (repeatable; default: draw one)")
	f.StringVar(&v.HostsDir, "hosts-dir", v.HostsDir, "directory with hosts.toml files for the registries")
	f.StringVar(&v.Redirects, "redirects", v.Redirects, "a registry's redirects of blobs: hand-on or follow")
	f.StringArrayVar(&v.Proxies, "proxy", nil, "address or range of a load balancer whose X-Forwarded-For is believed (repeatable)")
	f.IntVar(&v.MaxRequests, "max-requests", v.MaxRequests, "requests of one caller at once")
	f.IntVar(&v.MaxConnections, "max-connections", v.MaxConnections, "connections at once")
	f.IntVar(&v.MaxMemory, "max-memory", v.MaxMemory, "bytes for the content of all requests")
	f.DurationVar(&v.UpstreamTimeout, "upstream-timeout", v.UpstreamTimeout, "how long a registry may take to begin an answer")
	f.StringVar(&v.MetricsAddress, "metrics-address", "", "address for metrics and health checks, over http (default: none)")
	f.DurationVar(&v.Grace, "grace", v.Grace, "how long transfers may continue after SIGTERM")
	return c
}
