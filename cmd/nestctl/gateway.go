package main

import (
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/daemon"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// newGateway returns the command, with the hidden one that it starts itself to
// read a file which may be damaged.
func newGateway(s *settings) *cobra.Command {
	o := daemon.Options{UserAgent: "nestctl/" + version, Probe: []string{"gateway", "probe-trail"}}
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Run the gateway: serve nested bundles to an unmodified containerd, as a mirror on loopback",
		Long: `nestctl install writes the systemd units and the configuration that start it.
SIGHUP makes it read the configuration again.`,
		Example: "  nestctl gateway --config " + config.Path,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Debug, o.LogFormat = s.debug, s.logFormat
			return daemon.Run(cmd.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Config, "config", config.Path, "configuration `file`")
	c.Flags().StringVar(&o.Handover, "handover", "", "take over the sockets of the gateway that runs under this `name`, and hand them to the next one, "+
		"where systemd does not hold the sockets")
	c.AddCommand(&cobra.Command{
		Use:    "probe-trail FILE",
		Hidden: true, // the gateway runs it: reading a damaged file may crash the process
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return locations.Probe(args[0]) },
	})
	return c
}
