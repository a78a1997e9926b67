package daemon

import (
	"context"
	"path/filepath"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Options describe the gateway. Config, UserAgent and Probe are required.
type Options struct {
	// Config is the path of the configuration file.
	Config string
	// Debug logs at level debug, whatever the configuration says.
	Debug bool
	// LogFormat is text or json, whatever the configuration says, or "" for what it
	// says.
	LogFormat string
	// Handover is the name under which sockets are taken from the running
	// gateway, and handed to the next; empty: they are not. See package
	// handover.
	Handover string
	// UserAgent is sent to registries.
	UserAgent string
	// Probe are the arguments with which this program reads a location cache,
	// whose path is appended, and exits as [locations.Probe] says: with exit
	// status 0, with 1 when something other than the file is wrong, or in any
	// other way when the file is damaged.
	Probe []string
}

// Run runs the gateway until the context ends, and then gives transfers the
// configuration's grace to end. The error is a [config.Error] when the file is
// wrong.
func Run(ctx context.Context, o Options) error {
	c, err := config.LoadAndPrepare(o.Config)
	if err != nil {
		return err
	}
	if err = gateway.CheckServer(c.Gateway.Certificate, c.Gateway.ClientCA); err != nil {
		return err
	}
	cache, err := locations.Open(filepath.Join(c.Gateway.StateDir, "trail.db"), locations.Options{Probe: probe(o.Probe)})
	if err != nil {
		return err
	}
	defer cache.Close()
	d := newGateway(o, cache, limitMemory(c.GatewayProcess()))
	d.metrics.WatchLocations(cache)
	return d.run(ctx, c)
}

// newGateway returns the process of a gateway, whose settings are still to come.
func newGateway(o Options, cache *locations.Cache, memory *find.Memory) *daemon {
	metrics := gateway.NewMetrics()
	return &daemon{handover: o.Handover, debug: o.Debug, logFormat: o.LogFormat, metrics: metrics, service: service{
		load:      func() (*config.Config, error) { return config.LoadGateway(o.Config) },
		unchanged: (*config.Config).NeedsRestart,
		process:   (*config.Config).GatewayProcess,
		handler: func(c *config.Config) (handler, error) {
			return c.NewGateway(cache, memory, metrics, o.UserAgent)
		},
		warn:   func(*config.Config) {},
		files:  func(c *config.Config) followed { return followed{hosts: c.Gateway.HostsDir} },
		called: "the files of gateway.hosts_dir",
		check:  (*config.Config).CheckHosts,
	}}
}
