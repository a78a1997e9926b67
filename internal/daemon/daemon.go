// Package daemon runs the gateway as a process: [Run] opens the location cache
// and the sockets, serves, and gives transfers time to end.
//
// Read the files in this order:
//
//   - daemon.go: from the start to the end;
//   - settings.go: the settings with which requests are answered, and how they
//     are replaced: on SIGHUP, and when hosts.toml files change (hosts.go);
//   - listen.go: where the sockets come from: systemd, the gateway before
//     (package handover), or new ones;
//   - observe.go: metrics and health;
//   - probe.go: the location cache is first read in another process, which a
//     damaged file may crash.
//
// Package config reads the configuration, and package gateway decides who may
// ask for what. There can be only one in a process: it handles the process's
// signals, sets its memory limit and its logging.
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
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Options describe the gateway. Config, UserAgent and Probe are required.
type Options struct {
	// Config is the path of the configuration file.
	Config string
	// Debug logs at level debug, whatever the configuration says.
	Debug bool
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

// daemon is a gateway as a process. Its settings are replaced when the
// configuration is read again; the rest stays.
type daemon struct {
	options   Options
	locations *locations.Cache
	memory    *find.Memory
	metrics   *gateway.Metrics
	settings  atomic.Pointer[settings]
	ready     atomic.Bool
}

// Run serves until the context ends, and then gives transfers the
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
	d := &daemon{options: o, locations: cache, memory: limitMemory(c), metrics: gateway.NewMetrics()}
	d.metrics.WatchLocations(cache)
	if err = d.use(c); err != nil {
		return err
	}
	return d.run(ctx, c.Gateway)
}

// limitMemory returns the memory budget for clients. Go's limit is that plus
// what the process needs besides.
func limitMemory(c *config.Config) *find.Memory {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.Gateway.MaxMemory) + gateway.MemoryBeside)
	}
	return find.NewMemory(int64(c.Gateway.MaxMemory))
}

// run serves on the sockets and with the certificates of the configuration at
// the start; [config.Config.NeedsRestart] keeps them from changing.
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
	_, _ = sd.SdNotify(false, sd.SdNotifyReady) // does nothing without systemd
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

// end accepts no new connections, and gives the open ones time to end.
// containerd resumes a transfer that is cut off.
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
