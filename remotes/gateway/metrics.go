package gateway

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Metrics counts what a gateway does. It is a prometheus.Collector.
type Metrics struct {
	// Registries counts what its way upstream costs.
	Registries registry.Metrics

	requests *prometheus.CounterVec
	upstream *prometheus.CounterVec
	sent     prometheus.Counter
	hops     prometheus.Counter
	derived  []prometheus.Collector
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics returns counters that are at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nested_requests_total", Help: "Requests answered."}, []string{"door", "kind", "status"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nested_upstream_requests_total", Help: "Requests made to registries."}, []string{"kind"}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "nested_sent_bytes_total", Help: "Bytes of bodies sent to clients."}),
		hops:     prometheus.NewCounter(prometheus.CounterOpts{Name: "nested_child_hops_total", Help: "Answers that came from another repository than was asked for."}),
	}
	counter := func(name, help string, value func() float64) {
		m.derived = append(m.derived, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	r := &m.Registries
	counter("nested_upstream_bytes_total", "Bytes of bodies received from registries.", func() float64 { return float64(r.Bytes.Load()) })
	counter("nested_tokens_total", "Requests to token endpoints.", func() float64 { return float64(r.Tokens.Load()) })
	counter("nested_helper_runs_total", "Runs of credential helpers.", func() float64 { return float64(r.HelperRuns.Load()) })
	counter("nested_helper_seconds_total", "Time that runs of credential helpers took.", func() float64 { return float64(r.HelperNanoseconds.Load()) / 1e9 })
	return m
}

// WatchLocations adds the size of a location cache.
func (m *Metrics) WatchLocations(t *locations.Cache) {
	m.derived = append(m.derived, prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "nested_trail_bytes", Help: "Bytes in use of the location cache's file."}, func() float64 { return float64(t.Size()) }))
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range append([]prometheus.Collector{m.requests, m.upstream, m.sent, m.hops}, m.derived...) {
		c.Collect(out)
	}
}

// asked counts a request to a registry.
func (m *Metrics) asked(k find.Kind) { m.upstream.WithLabelValues(string(k)).Inc() }

// hopped counts an answer that came from another repository than was asked for.
func (m *Metrics) hopped(context.Context, auth.Repository) { m.hops.Inc() }

func (m *Metrics) request(door string, k find.Kind, status int, bytes int64) {
	if k == "" {
		k = "other"
	}
	m.requests.WithLabelValues(door, string(k), strconv.Itoa(status)).Inc()
	m.sent.Add(float64(bytes))
}
