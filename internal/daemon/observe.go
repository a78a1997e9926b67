package daemon

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// observerTimeout bounds receiving a request for metrics or health, and its answer,
// each. Who asks is near.
const observerTimeout = 10 * time.Second

// observe serves metrics and health at an address over plain http; not at all
// when it is "". A later failure is sent to failed.
func (d *daemon) observe(ctx context.Context, from sockets, address string, failed chan<- error) (closeServer func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := from.listen(ctx, address)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: d.observation(), ReadTimeout: observerTimeout, WriteTimeout: observerTimeout, IdleTimeout: time.Minute}
	go func() { failed <- server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

// observation answers requests for metrics and health.
func (d *daemon) observation() http.Handler {
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
