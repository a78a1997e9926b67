package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/gateway"
)

func newGateway(s *settings) *cobra.Command {
	var file, name string
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Serve nested bundles to a stock containerd, as a mirror on loopback",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := newDaemon(file, s.debug)
			if err != nil {
				return err
			}
			d.name = name
			return d.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&file, "config", config.Path, "configuration file")
	c.Flags().StringVar(&name, "handover", "", "take the sockets of the gateway that runs under this name, and hand them to the next that is started so;\n"+
		"for what has no systemd to hold them")
	c.AddCommand(&cobra.Command{
		Use:    "probe-trail FILE",
		Hidden: true, // a damaged file may end the process that reads it
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return gateway.ProbeTrail(args[0]) },
	})
	return c
}

// daemonProcess is the gateway as a process. What answers requests is
// replaced when the configuration is read again; the rest stays.
type daemonProcess struct {
	file    string
	debug   bool // whatever the configuration says
	config  *config.Config
	trail   *gateway.Trail
	memory  *gateway.Memory
	metrics *gateway.Metrics
	current atomic.Pointer[gateway.Gateway]
	hosts   string // see hostsSeen; when the gateway was made
	ready   atomic.Bool
	name    string    // under which sockets are handed over; empty: they are not
	sockets *handover // nil when they are not
}

func newDaemon(file string, debug bool) (*daemonProcess, error) {
	c, err := config.LoadAndPrepare(file)
	if err != nil {
		return nil, err
	}
	if err = gateway.CheckServer(c.Gateway.Certificate, c.Gateway.ClientCA); err != nil {
		return nil, err
	}
	trail, err := gateway.OpenTrail(filepath.Join(c.Gateway.StateDir, "trail.db"), gateway.TrailOptions{
		Probe: probeTrail,
	})
	if err != nil {
		return nil, err
	}
	d := &daemonProcess{file: file, debug: debug, config: c, trail: trail, memory: limitMemory(c), metrics: gateway.NewMetrics()}
	d.metrics.WatchTrail(trail)
	return d, d.use(c)
}

// limitMemory returns the budget for what is held for clients. Go collects
// more often when that and what the process takes besides is reached.
func limitMemory(c *config.Config) *gateway.Memory {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.Gateway.MaxMemory) + gateway.MemoryBeside)
	}
	return gateway.NewMemory(int64(c.Gateway.MaxMemory))
}

// probeTrail reads the trail in a process of its own. However that ends, the
// file is damaged, unless the process says that something else is wrong.
func probeTrail(path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return probeResult(exec.CommandContext(context.Background(), self, "gateway", "probe-trail", path)) // it ends by itself
}

func probeResult(probe *exec.Cmd) error {
	_, err := probe.Output()
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return err
	}
	said, _, _ := strings.Cut(string(ended.Stderr), "\n") // Go's way to end says more
	err = fmt.Errorf("reading it: %w: %s", err, sanitize.Text(said))
	if ended.ExitCode() == failure {
		return err
	}
	return fmt.Errorf("%w: %w", gateway.ErrDamaged, err)
}

// use makes a configuration the one by which requests are answered.
func (d *daemonProcess) use(c *config.Config) error {
	d.hosts = hostsSeen(c.Gateway.HostsDir)
	g, err := c.NewGateway(d.trail, d.memory, d.metrics, "nestctl/"+version)
	if err != nil {
		return err
	}
	level := c.Log.Level
	if d.debug {
		level = "debug"
	}
	if err := errors.Join(log.SetLevel(level), log.SetFormat(log.OutputFormat(c.Log.Format))); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		log.L.WithError(err).Warn("pulls from these registries will fail") // others are served
	}
	d.config = c
	if old := d.current.Swap(g); old != nil {
		old.Close() // its transfers go on
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (d *daemonProcess) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.current.Load().ServeHTTP(w, r)
}

// run serves until the context ends, and then lets transfers end for a while.
func (d *daemonProcess) run(ctx context.Context) error {
	defer d.trail.Close()
	if d.name != "" {
		sockets, err := openHandover(ctx, d.name, d.config.Gateway.Certificate)
		if err != nil {
			return err
		}
		defer sockets.close()
		d.sockets = sockets
	}
	listener, err := d.listen(ctx, d.config.Gateway.Address)
	if err != nil {
		return err
	}
	server := gateway.NewServer(d, d.config.Gateway.Certificate, d.config.Gateway.ClientCA)
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	observer := &http.Server{Handler: d.observation(), ReadHeaderTimeout: 10 * time.Second}
	if address := d.config.Gateway.MetricsAddress; address != "" {
		observed, err := d.listenPlain(ctx, address)
		if err != nil {
			return err
		}
		defer observer.Close()
		go func() { failed <- observer.Serve(observed) }()
	}
	if d.sockets != nil {
		d.sockets.start()
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	d.ready.Store(true)
	_, _ = sd.SdNotify(false, sd.SdNotifyReady) // nobody listens outside systemd
	log.L.Infof("serving %v on %s", d.config.Gateway.Registries, listener.Addr())

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
			if d.sockets != nil {
				d.sockets.close()
				_ = observer.Close() // whoever asks from now on means the next gateway
			}
			return d.end(server, listener)
		}
	}
}

// listen takes the socket that systemd passes, the one of the gateway before,
// or makes one.
func (d *daemonProcess) listen(ctx context.Context, address string) (net.Listener, error) {
	passed, err := activation.Listeners()
	switch {
	case err != nil:
		return nil, err
	case len(passed) > 1:
		return nil, fmt.Errorf("systemd passes %d sockets; one is enough", len(passed))
	case len(passed) == 1 && passed[0] != nil:
		if d.sockets != nil {
			return nil, errors.New("systemd passes a socket; leave out --handover")
		}
		return passed[0], nil
	}
	return d.listenPlain(ctx, address)
}

func (d *daemonProcess) listenPlain(ctx context.Context, address string) (net.Listener, error) {
	if d.sockets != nil {
		return d.sockets.listen(ctx, address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// reload reads the configuration again; a bad one changes nothing.
func (d *daemonProcess) reload() {
	c, err := config.Load(d.file)
	if err == nil {
		err = c.NeedsRestart(d.config)
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

// end ends: no new connections, a while for those that are open. A transfer
// that is cut off is taken up again by containerd.
func (d *daemonProcess) end(server *gateway.Server, listener net.Listener) error {
	d.ready.Store(false)
	_, _ = sd.SdNotify(false, sd.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), d.config.Gateway.Grace)
	defer cancel()
	return server.End(ctx, listener)
}

// observation are metrics and health.
func (d *daemonProcess) observation() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(d.metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !d.ready.Load() {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}
