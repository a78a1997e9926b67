package config

import (
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// servePrefetch is how many manifests and small blobs may be read ahead for all
// clients together, as the gateway does by default.
const servePrefetch = 64

// NewFront makes the front that the section [serve] describes. It seals with
// the drawn key where the section names none. The memory budget is passed in
// because it outlives a change of the file. Credentials of this machine are
// never used.
func (c *Config) NewFront(drawn []byte, memory *find.Memory, metrics *gateway.Metrics, userAgent string) (*gateway.Front, error) {
	allow, err := patterns(c.Serve.Allow)
	if err != nil {
		return nil, err
	}
	keys, err := c.Serve.sealKeys()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		keys = [][]byte{drawn}
	}
	options := gateway.FrontOptions{
		Registries:      c.Serve.names(),
		Allow:           allow,
		SealKeys:        keys,
		HostsDir:        c.Serve.HostsDir,
		Realms:          c.Credentials.Realms,
		Keys:            c.Nested.Keys(),
		FollowRedirects: c.Serve.Redirects == "follow",
		Proxies:         c.Serve.proxies(),
		MaxRequests:     c.Serve.MaxRequests,
		Timeout:         c.Serve.UpstreamTimeout,
		SearchRequests:  searchRequests,
		Prefetch:        servePrefetch,
		Memory:          memory,
		UserAgent:       userAgent,
		Metrics:         metrics,
	}
	if c.Serve.HostsDir != "" {
		options.CheckHosts = func(registry string) error { return CheckHosts("", c.Serve.HostsDir, registry) }
	}
	return gateway.NewFront(options)
}

// names maps the names to the registries behind.
func (s Serve) names() map[string]string {
	names := map[string]string{}
	for _, front := range s.Registries {
		if name, registry, ok := cutFront(front); ok {
			names[name] = registry
		}
	}
	return names
}
