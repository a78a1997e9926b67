package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"
)

// Process is what a section says about the process that it is for. It cannot
// change while the process runs, but for Grace.
type Process struct {
	Serves         []string // as the log names it
	Listen         string
	Certificate    string
	ClientCA       string         // empty: clients need no certificate
	Proxies        []netip.Prefix // in front of clients
	MaxConnections int            // 0: no limit
	MaxMemory      int
	MetricsAddress string
	Grace          time.Duration
}

// GatewayProcess is the process of the section [gateway].
func (c *Config) GatewayProcess() Process {
	g := c.Gateway
	return Process{
		Serves:         g.Registries,
		Listen:         g.Address,
		Certificate:    g.Certificate,
		ClientCA:       g.ClientCA,
		MaxMemory:      g.MaxMemory,
		MetricsAddress: g.MetricsAddress,
		Grace:          g.Grace,
	}
}

// ServeProcess is the process of the section [serve].
func (c *Config) ServeProcess() Process {
	s := c.Serve
	return Process{
		Serves:         s.Registries,
		Listen:         s.Listen,
		Certificate:    s.Certificate,
		Proxies:        s.proxies(),
		MaxConnections: s.MaxConnections,
		MaxMemory:      s.MaxMemory,
		MetricsAddress: s.MetricsAddress,
		Grace:          s.Grace,
	}
}

// NeedsRestart names the keys of a gateway that differ from another
// configuration and cannot change while it runs; nil when there are none.
func (c *Config) NeedsRestart(other *Config) error {
	return c.needsRestart(other, "the gateway", "gateway.address", "gateway.certificate", "gateway.client_ca", "gateway.max_memory",
		"gateway.metrics_address", "gateway.state_dir")
}

// ServeNeedsRestart is NeedsRestart for a front.
func (c *Config) ServeNeedsRestart(other *Config) error {
	return c.needsRestart(other, "nestctl serve", "serve.certificate", "serve.listen", "serve.max_connections", "serve.max_memory",
		"serve.metrics_address", "serve.proxies")
}

func (c *Config) needsRestart(other *Config, what string, keys ...string) error {
	var changed []string
	for _, key := range keys {
		if !reflect.DeepEqual(c.get(key), other.get(key)) {
			changed = append(changed, key)
		}
	}
	if changed == nil {
		return nil
	}
	return errors.New("restart " + what + " for " + fmt.Sprint(changed))
}
