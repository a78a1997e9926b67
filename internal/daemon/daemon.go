// Package daemon runs the gateway ([Run]) or a front ([RunServe]) as a process:
// it opens the sockets, serves, and gives transfers time to end.
//
// Read the files in this order:
//
//   - daemon.go: from the start to the end; gateway.go and serve.go: what
//     the two do in their own ways;
//   - settings.go: the settings with which requests are answered, and how they
//     are replaced: on SIGHUP, and when files that the configuration names
//     change (follow.go);
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
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/log"
	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// service is what a process runs, the gateway or a front.
type service struct {
	load      func() (*config.Config, error) // reads the configuration again
	unchanged func(c, before *config.Config) error
	process   func(*config.Config) config.Process
	handler   func(*config.Config) (handler, error)
	warn      func(*config.Config) // of what serving with it will meet

	// Files that are followed, what they are called, and what checks them.
	files  func(*config.Config) followed
	called string
	check  func(*config.Config) error
}

// handler answers requests by one configuration.
type handler interface {
	http.Handler
	// Check reports the registries that cannot be asked.
	Check() error
	// Close ends what is not for a request that is being answered.
	Close()
}

// daemon is a service as a process. Its settings are replaced when the
// configuration is read again; the rest stays.
type daemon struct {
	service  service
	handover string // see [Options]
	debug    bool   // logs at that level, whatever the configuration says
	// logFormat is text or json, or "" for that of the configuration.
	logFormat string
	metrics   *gateway.Metrics
	settings  atomic.Pointer[settings]
	ready     atomic.Bool
}

// connectionMemory is what a connection takes, in bytes: buffers of TLS and
// HTTP, and a stack. Measured were 24 KiB without a request.
const connectionMemory = 32 << 10

// limitMemory returns the memory budget for clients. Go's limit is that plus
// what the process needs besides.
func limitMemory(p config.Process) *find.Memory {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(p.MaxMemory) + gateway.MemoryBeside + int64(p.MaxConnections)*connectionMemory)
	}
	return find.NewMemory(int64(p.MaxMemory))
}

// run serves until the context ends, and then gives transfers the
// configuration's grace to end. The configuration's process is that of the
// start; service.unchanged keeps it from changing.
func (d *daemon) run(ctx context.Context, c *config.Config) error {
	if err := d.use(c); err != nil {
		return err
	}
	defer func() { d.settings.Load().handler.Close() }()
	p := d.service.process(c)
	sockets, err := openSockets(ctx, d.handover, p.Certificate)
	if err != nil {
		return err
	}
	defer sockets.close()
	listener, err := sockets.service(ctx, p.Listen)
	if err != nil {
		return err
	}
	server := gateway.NewServer(d, p.Certificate, p.ClientCA)
	server.MaxConnections, server.Proxies = p.MaxConnections, p.Proxies
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	closeObserver, err := d.observe(ctx, sockets, p.MetricsAddress, failed)
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
	log.L.Infof("serving %v on %s", p.Serves, listener.Addr())

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
	files := time.NewTicker(filesInterval)
	defer files.Stop()
	for {
		select {
		case <-files.C:
			d.followFiles()
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
// Clients resume a transfer that is cut off, or start it again.
func (d *daemon) end(server *gateway.Server, listener net.Listener) error {
	d.ready.Store(false)
	_, _ = sd.SdNotify(false, sd.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), d.service.process(d.settings.Load().config).Grace)
	defer cancel()
	return server.End(ctx, listener)
}

// ServeHTTP implements [http.Handler].
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.settings.Load().handler.ServeHTTP(w, r)
}
