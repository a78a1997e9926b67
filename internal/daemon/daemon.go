// Package daemon runs the gateway of a configuration as a process: [Run] opens
// the location cache and the sockets, serves, and ends with a while for transfers.
//
//	daemon.go   from the start to the end
//	settings.go what requests are answered by, and how that is replaced: on
//	            SIGHUP, and when hosts.toml files change (hosts.go)
//	listen.go   whose sockets they are: systemd's, those of the gateway before
//	            (package handover), or new ones
//	observe.go  metrics and health
//	probe.go    the location cache is read first in a process that a damaged file may end
//
// What a file says is package config's, and who may ask for what is package
// gateway's. Only one can run in a process: it goes by the process's signals,
// sets its limit of memory and how it logs.
package daemon

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/log"
	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/gateway/locations"
)

// Options say which gateway runs. Config, UserAgent and Probe are required.
type Options struct {
	// Config is the path of the configuration file.
	Config string
	// Debug logs at level debug, whatever the file says.
	Debug bool
	// Handover is the name under which sockets are taken from the gateway that
	// runs, and handed to the next; empty: they are not. See package handover.
	Handover string
	// UserAgent is what registries are told.
	UserAgent string
	// Probe are the arguments with which this program reads a location cache, whose path
	// is added, and ends as [locations.Probe] says: with exit status 0, with
	// 1 when something else is wrong than the file, or in any other way when the
	// file is damaged.
	Probe []string
}

// daemon is a gateway as a process. What answers requests is replaced when the
// configuration is read again; the rest stays.
type daemon struct {
	options   Options
	locations *locations.Cache
	memory    *gateway.Memory
	metrics   *gateway.Metrics
	settings  atomic.Pointer[settings]
	ready     atomic.Bool
}

// Run serves until the context ends, and then lets transfers go on for the
// configuration's grace. The error is a [config.Error] when the file is wrong.
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
	d := &daemon{options: o, locations: cache, memory: limitMemory(c), metrics: gateway.NewMetrics()}
	d.metrics.WatchLocations(cache)
	if err = d.use(c); err != nil {
		return err
	}
	return d.run(ctx, c.Gateway)
}

// limitMemory returns the budget for what is held for clients. Go collects
// more often when that and what the process takes besides is reached.
func limitMemory(c *config.Config) *gateway.Memory {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.Gateway.MaxMemory) + gateway.MemoryBeside)
	}
	return gateway.NewMemory(int64(c.Gateway.MaxMemory))
}

// run serves by what the configuration said at the start about sockets and
// certificates, which [config.Config.NeedsRestart] keeps.
func (d *daemon) run(ctx context.Context, c config.Gateway) error {
	sockets, err := openSockets(ctx, d.options.Handover, c.Certificate)
	if err != nil {
		return err
	}
	defer sockets.close()
	listener, err := sockets.gateway(ctx, c.Address)
	if err != nil {
		return err
	}
	server := gateway.NewServer(d, c.Certificate, c.ClientCA)
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	closeObserver, err := d.observe(ctx, sockets, c.MetricsAddress, failed)
	if err != nil {
		return err
	}
	defer closeObserver()
	sockets.start()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	d.ready.Store(true)
	_, _ = sd.SdNotify(false, sd.SdNotifyReady) // nobody listens outside systemd
	log.L.Infof("serving %v on %s", d.settings.Load().config.Gateway.Registries, listener.Addr())

	if err := d.follow(ctx, hangup, failed); err != nil {
		return err
	}
	if sockets.handedOver() {
		sockets.close()
		closeObserver() // requests from now on are for the next gateway
	}
	return d.end(server, listener)
}

// follow replaces the settings when their files have changed, until the context
// ends. The error is that of a server that failed.
func (d *daemon) follow(ctx context.Context, hangup <-chan os.Signal, failed <-chan error) error {
	hosts := time.NewTicker(hostsInterval)
	defer hosts.Stop()
	for {
		select {
		case <-hosts.C:
			d.followHosts()
		case <-hangup:
			d.reload()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// end ends: no new connections, a while for those that are open. A transfer
// that is cut off is resumed by containerd.
func (d *daemon) end(server *gateway.Server, listener net.Listener) error {
	d.ready.Store(false)
	_, _ = sd.SdNotify(false, sd.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), d.settings.Load().config.Gateway.Grace)
	defer cancel()
	return server.End(ctx, listener)
}

// ServeHTTP implements [http.Handler].
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.settings.Load().gateway.ServeHTTP(w, r)
}
