package daemon

import (
	"errors"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
)

// settings are those with which requests are answered. They do not change, but
// are replaced.
type settings struct {
	config  *config.Config
	gateway *gateway.Gateway
	hosts   string // see hostsSeen; from before the gateway read the files
}

// use replaces the settings by those of a configuration.
func (d *daemon) use(c *config.Config) error {
	hosts := hostsSeen(c.Gateway.HostsDir)
	g, err := c.NewGateway(d.locations, d.memory, d.metrics, d.options.UserAgent)
	if err != nil {
		return err
	}
	level := c.Log.Level
	if d.options.Debug {
		level = "debug"
	}
	if err := errors.Join(log.SetLevel(level), log.SetFormat(log.OutputFormat(c.Log.Format))); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		log.L.WithError(err).Warn("pulls from these registries will fail") // others are served
	}
	if old := d.settings.Swap(&settings{config: c, gateway: g, hosts: hosts}); old != nil {
		old.gateway.Close() // its transfers go on
	}
	return nil
}

// reload reads the configuration again; an invalid one changes nothing.
func (d *daemon) reload() {
	c, err := config.Load(d.options.Config)
	if err == nil {
		err = c.NeedsRestart(d.settings.Load().config)
	}
	if err == nil {
		err = d.use(c)
	}
	if err != nil {
		log.L.WithError(err).Error("the configuration stays as it was")
		return
	}
	log.L.Info("the configuration was read again")
}
