package daemon

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// ServeOptions describe a front. UserAgent is required.
type ServeOptions struct {
	// Config is the path of the configuration file; empty: there is none.
	Config string
	// Flags win over the file.
	Flags config.Flags
	// Debug, LogFormat and UserAgent are as those of [Options].
	Debug     bool
	LogFormat string
	UserAgent string
}

// RunServe runs a front until the context ends, as [Run] does a gateway.
func RunServe(ctx context.Context, o ServeOptions) error {
	c, err := config.LoadServe(o.Config, o.Flags)
	if err != nil {
		return err
	}
	return newServe(o, limitMemory(c.ServeProcess())).run(ctx, c)
}

// newServe returns the process of a front, whose settings are still to come. A
// seal key that is drawn lasts as long as the process, for uploads under way
// when the settings change.
func newServe(o ServeOptions, memory *find.Memory) *daemon {
	metrics, drawn := gateway.NewMetrics(), make([]byte, gateway.SealKeySize)
	_, _ = rand.Read(drawn) // never fails
	return &daemon{debug: o.Debug, logFormat: o.LogFormat, metrics: metrics, service: service{
		load:      func() (*config.Config, error) { return config.LoadServe(o.Config, o.Flags) },
		unchanged: (*config.Config).ServeNeedsRestart,
		process:   (*config.Config).ServeProcess,
		handler: func(c *config.Config) (handler, error) {
			return c.NewFront(drawn, memory, metrics, o.UserAgent)
		},
		warn: func(c *config.Config) {
			if err := c.CheckServedNames(time.Now()); err != nil {
				log.L.WithError(err).Warnf("clients will refuse the certificate %s", c.Serve.Certificate)
			}
			if err := c.CheckServedSecrets(); err != nil {
				log.L.WithError(err).Warn("others on this machine know what should be secret")
			}
			if len(c.Serve.SealKeys) == 0 {
				log.L.Info("no seal key is given: uploads that go on elsewhere, or after a restart, have to begin anew")
			}
		},
		files: func(c *config.Config) followed {
			return followed{hosts: c.Serve.HostsDir, files: append([]string{c.Serve.Certificate}, c.Serve.SealKeys...)}
		},
		called: "the files of serve.certificate, serve.seal_keys and serve.hosts_dir",
		check:  (*config.Config).CheckServed,
	}}
}
