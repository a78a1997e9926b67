package daemon

import (
	"cmp"
	"errors"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/config"
)

// settings are those with which requests are answered. They do not change, but
// are replaced.
type settings struct {
	config  *config.Config
	handler handler
	seen    string // of the files that are followed; from before they were read
}

// use replaces the settings by those of a configuration.
func (d *daemon) use(c *config.Config) error {
	seen := d.service.files(c).seen()
	h, err := d.service.handler(c)
	if err != nil {
		return err
	}
	level := c.Log.Level
	if d.debug {
		level = "debug"
	}
	if err := errors.Join(log.SetLevel(level), log.SetFormat(log.OutputFormat(cmp.Or(d.logFormat, c.Log.Format)))); err != nil {
		return err
	}
	d.service.warn(c)
	if err := h.Check(); err != nil {
		log.L.WithError(err).Warn("pulls from these registries will fail") // others are served
	}
	if old := d.settings.Swap(&settings{config: c, handler: h, seen: seen}); old != nil {
		old.handler.Close() // its transfers go on
	}
	return nil
}

// reload reads the configuration again; an invalid one changes nothing.
func (d *daemon) reload() {
	c, err := d.service.load()
	if err == nil {
		err = d.service.unchanged(c, d.settings.Load().config)
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
