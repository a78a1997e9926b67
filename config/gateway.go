package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/nested"
)

// NewGateway makes the gateway that the file describes, on a trail that was
// opened before: it outlives a change of the file.
func (c *Config) NewGateway(trail *gateway.Trail, metrics *gateway.Metrics, userAgent string) (*gateway.Gateway, error) {
	allow, err := c.Gateway.patterns()
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Options{
		Mode:       modes[c.Gateway.Mode],
		Registries: c.Gateway.Registries,
		Allow:      allow,
		Trail:      trail,
		Credentials: auth.NewStores(auth.StoresOptions{
			Files:         c.Credentials.DockerConfig,
			HelperTimeout: c.Credentials.HelperTimeout,
			Metrics:       &metrics.Registries.Metrics,
		}),
		HostsDir: c.Gateway.HostsDir,
		Realms:   c.Credentials.Realms,
		Keys:     nested.Keys{Annotations: c.Nested.Annotations, Properties: c.Nested.Properties},
		Limits: nested.Limits{
			Document:    int64(c.Nested.MaxDocumentBytes),
			Depth:       c.Nested.MaxDepth,
			Entries:     c.Nested.MaxEntries,
			Descriptors: c.Nested.MaxDescriptors,
		},
		FollowRedirects: c.Gateway.Redirects == "follow",
		Timeout:         c.Gateway.UpstreamTimeout,
		SearchRequests:  c.Gateway.SearchRequests,
		UserAgent:       userAgent,
		Metrics:         metrics,
	}), nil
}

var modes = map[string]gateway.Mode{"node": gateway.Node, "pod": gateway.Pod}

func (g Gateway) patterns() ([]gateway.Pattern, error) {
	var patterns []gateway.Pattern
	for _, s := range g.Allow {
		p, err := gateway.ParsePattern(s)
		if err != nil {
			return nil, fmt.Errorf("gateway.allow: %w", err)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// NeedsRestart names what differs from another configuration and does not
// change while the gateway runs; nil when nothing does.
func (c *Config) NeedsRestart(other *Config) error {
	a, b := c.Gateway, other.Gateway
	var changed []string
	for key, differs := range map[string]bool{
		"address":         a.Address != b.Address,
		"certificate":     a.Certificate != b.Certificate,
		"client_ca":       a.ClientCA != b.ClientCA,
		"state_dir":       a.StateDir != b.StateDir,
		"trail_max_age":   a.TrailMaxAge != b.TrailMaxAge,
		"trail_max_bytes": a.TrailMaxBytes != b.TrailMaxBytes,
		"metrics_address": a.MetricsAddress != b.MetricsAddress,
	} {
		if differs {
			changed = append(changed, "gateway."+key)
		}
	}
	if changed == nil {
		return nil
	}
	slices.Sort(changed)
	return errors.New("restart the gateway for " + fmt.Sprint(changed))
}
