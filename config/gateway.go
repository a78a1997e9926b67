package config

import (
	"errors"
	"fmt"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// CheckHosts is [CheckHosts] for all registries that are served.
func (c *Config) CheckHosts() error {
	var all error
	for _, registry := range c.Gateway.Registries {
		all = errors.Join(all, CheckHosts("", c.Gateway.HostsDir, registry))
	}
	return all
}

// searchRequests are enough to search a bundle of a hundred members, one
// request each.
const searchRequests = 100

// NewGateway makes the gateway that the file describes. The location cache and
// the memory budget are passed in because they outlive a change of the file.
func (c *Config) NewGateway(cache *locations.Cache, memory *find.Memory, metrics *gateway.Metrics, userAgent string) (*gateway.Gateway, error) {
	allow, err := patterns(c.Gateway.Allow)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Options{
		Mode:           modes[c.Gateway.Mode],
		Registries:     c.Gateway.Registries,
		Allow:          allow,
		Locations:      cache,
		Credentials:    c.Credentials.Stores(&metrics.Registries.Metrics),
		HostsDir:       c.Gateway.HostsDir,
		CheckHosts:     func(registry string) error { return CheckHosts("", c.Gateway.HostsDir, registry) },
		Realms:         c.Credentials.Realms,
		Keys:           c.Nested.Keys(),
		Timeout:        c.Gateway.UpstreamTimeout,
		SearchRequests: searchRequests,
		Prefetch:       c.Gateway.Prefetch,
		Memory:         memory,
		UserAgent:      userAgent,
		Metrics:        metrics,
	}), nil
}

var modes = map[string]gateway.Mode{"node": gateway.Node, "pod": gateway.Pod}

// Stores are the credential stores, followed by the kubelet's plugins.
func (c Credentials) Stores(metrics *auth.Metrics) auth.Source {
	stores := auth.NewStores(auth.StoresOptions{Files: c.DockerConfig, HelperTimeout: c.HelperTimeout, Metrics: metrics})
	if c.KubeletProviders == "" {
		return stores
	}
	return auth.Sources{stores, auth.NewKubeletProviders(auth.KubeletOptions{
		Config: c.KubeletProviders, Dir: c.KubeletProviderDir, Metrics: metrics,
	})}
}

// CheckedStores are the credential stores in Docker configuration files, which
// are checked as those of a gateway in mode node: whoever can write one decides
// what is sent to registries, and which helpers are run. Without files they are
// the user's.
func CheckedStores(files []string) (auth.Source, error) {
	if len(files) == 0 {
		return auth.NewStores(auth.StoresFromEnvironment()), nil
	}
	for _, path := range files {
		var bad *Error
		if errors.As(CheckDocker(path), &bad) {
			return nil, bad
		}
	}
	return auth.NewStores(auth.StoresOptions{Files: files}), nil
}

// Keys are the names of annotations and properties that state child namespaces.
func (n Nested) Keys() nested.Keys {
	return nested.Keys{Annotations: n.Annotations, Properties: n.Properties}
}

func patterns(allow []string) ([]gateway.Pattern, error) {
	var patterns []gateway.Pattern
	for _, s := range allow {
		p, err := gateway.ParsePattern(s)
		if err != nil {
			return nil, fmt.Errorf("allow: %w", err)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}
