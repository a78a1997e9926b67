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
		Short: "Run a front: a registry in front of others where any client pulls and pushes nested indexes",
		Long: `The front has a name of its own for each registry. Clients log in there with their
credentials for the registry. Content that the repository of a nested index does
not have is fetched from the index's members. Flags override the section [serve]
of a configuration file (nestctl config default).`,
		Example: `  nestctl serve --certificate bundles.pem --registry bundles.example.com=registry.example.com`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := daemon.RunServe(cmd.Context(), daemon.ServeOptions{
				Config: file, Flags: config.Flags{Serve: v, Given: cmd.Flags().Changed}, Debug: s.debug, LogFormat: s.logFormat, UserAgent: "nestctl/" + version,
			})
			if bad, ok := errors.AsType[*config.Error](err); ok && bad.Problems[0].Line == 0 && strings.HasPrefix(bad.Problems[0].Wrong, "--") {
				return usage.Error{Err: err}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration `file` (default: none)")
	f.StringVar(&v.Listen, "listen", v.Listen, "address to listen on, `host:port`")
	f.StringVar(&v.Certificate, "certificate", "", "PEM `file` with the certificate and its key")
	f.StringArrayVar(&v.Registries, "registry", nil, "serve a registry under a name, `name=registry`, each a host or host:port (repeatable)")
	f.StringArrayVar(&v.Allow, "allow", nil, "serve only the repositories that match this `pattern`, registry/path with * and **, and those below them (repeatable; default: all)")
	f.StringArrayVar(&v.SealKeys, "seal-key", nil, "`file` with a key, 32 bytes in base64, that encrypts the addresses of uploads; the first key encrypts, all decrypt (repeatable; default: a random key)")
	f.StringVar(&v.HostsDir, "hosts-dir", v.HostsDir, "`directory` with hosts.toml files for the registries")
	f.StringVar(&v.Redirects, "redirects", v.Redirects, "what to do when a registry redirects a blob, `hand-on|follow`")
	f.StringArrayVar(&v.Proxies, "proxy", nil, "address or `range` of a load balancer whose X-Forwarded-For is trusted (repeatable)")
	f.IntVar(&v.MaxRequests, "max-requests", v.MaxRequests, "maximum `number` of concurrent requests of one caller")
	f.IntVar(&v.MaxConnections, "max-connections", v.MaxConnections, "maximum `number` of connections")
	f.IntVar(&v.MaxMemory, "max-memory", v.MaxMemory, "memory for the content of all requests, in `bytes`")
	f.DurationVar(&v.UpstreamTimeout, "upstream-timeout", v.UpstreamTimeout, "how long a registry may take to begin an answer, a `duration`")
	f.StringVar(&v.MetricsAddress, "metrics-address", "", "serve metrics and health checks at this `host:port`, over http (default: none)")
	f.DurationVar(&v.Grace, "grace", v.Grace, "how long transfers may continue after SIGTERM, a `duration`")
	return c
}
