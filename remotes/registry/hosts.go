package registry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/log"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
)

// Host is one host of a registry, the registry itself or a mirror, for requests
// about one repository: a docker.RegistryHost whose client follows redirects by
// this project's policy.
type Host struct {
	docker.RegistryHost
	// Name is the repository's name on this host.
	Name string
	// Authorizer signs the requests; it is also the RegistryHost's.
	Authorizer *auth.Authorizer
	// header is sent with each request.
	header   http.Header
	registry *auth.Registry
	// OwnTrust says that hosts.toml gives CAs for this host or turns
	// verification off, so that others may not be able to verify what it
	// redirects to.
	OwnTrust bool
}

// through returns the host with a client that passes each request to do,
// together with the transport below. This is how requests are changed and
// answers observed where docker's resolver has no parameter for it.
func (h Host) through(do func(next http.RoundTripper, req *http.Request) (*http.Response, error)) Host {
	client := *h.Client
	next := client.Transport
	client.Transport = roundTripper(func(req *http.Request) (*http.Response, error) { return do(next, req) })
	h.Client = &client
	return h
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Hosts returns the hosts of a repository's registry in the order in which they
// are tried.
func (c *Client) Hosts(repository auth.Repository) ([]Host, error) {
	endpoints, err := c.endpointsOf(repository.Host())
	if err != nil {
		return nil, err
	}
	return c.repositories.GetOrPut(repository, flight.Forever, func() []Host {
		hosts := make([]Host, len(endpoints))
		for i, e := range endpoints {
			hosts[i] = e.hostFor(repository.Name())
		}
		return hosts
	}), nil
}

// Capable returns the hosts that have a capability, in their order.
func Capable(hosts []Host, capability docker.HostCapabilities) []Host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool { return !h.Capabilities.Has(capability) })
}

// endpointsOf returns the endpoints of a registry, which are made once.
func (c *Client) endpointsOf(registry string) ([]*endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if endpoints, ok := c.endpoints[registry]; ok {
		return endpoints, nil
	}
	if c.options.CheckHosts != nil {
		if err := c.options.CheckHosts(registry); err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry, err)
		}
	}
	hosts, err := c.hosts(registry)
	if heard := c.problems.heard(); heard != nil && c.options.Lenient {
		log.L.WithError(heard).WithField("registry", registry).Error("its hosts.toml is ignored")
	} else {
		err = errors.Join(err, heard)
	}
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry, err)
	}
	endpoints := make([]*endpoint, len(hosts))
	for i, host := range hosts {
		endpoints[i] = c.newEndpoint(host)
		if c.options.UpdateClient == nil {
			continue
		}
		if err := c.options.UpdateClient(endpoints[i].host.Client); err != nil {
			return nil, err
		}
	}
	c.endpoints[registry] = endpoints
	return endpoints, nil
}

// keepTransport is called by containerd with each client that it makes, before
// it may wrap the client's transport.
func (c *Client) keepTransport(client *http.Client) error {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("containerd made a client with a transport of type %T", client.Transport)
	}
	// Members are fetched side by side from one host; Go keeps two idle
	// connections to a host unless told otherwise.
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 256, 64
	c.base[client] = transport
	return nil
}

// newEndpoint replaces containerd's client with ours. The caller holds the
// lock.
func (c *Client) newEndpoint(host docker.RegistryHost) *endpoint {
	base := c.base[host.Client]
	fallback := host.Client.Transport != http.RoundTripper(base)
	e := &endpoint{
		prefix:  strings.TrimPrefix(strings.TrimPrefix(host.Path, "/v2"), "/"),
		header:  c.header(),
		metrics: c.options.Metrics,
	}
	if !strings.HasPrefix(host.Path, "/v2/") {
		e.prefix = "" // an API root of its own
	}
	e.registry = auth.NewRegistry(host.Scheme, host.Host, base, c.options.Credentials, auth.RegistryOptions{
		Header:       host.Header,
		Realms:       c.options.Realms,
		Dialer:       &net.Dialer{Timeout: 30 * time.Second}, // as docker.DefaultHTTPTransport has it
		HTTPFallback: fallback,
		OtherNames:   host.Path != "/v2" && !strings.HasPrefix(host.Path, "/v2/"),
		Connections:  c.options.Connections,
		Passing:      c.options.Passing,
		UserAgent:    c.options.UserAgent,
		Metrics:      &c.options.Metrics.Metrics,
	})
	e.next = e.registry.Transport()
	if fallback {
		e.next = docker.NewHTTPFallback(e.next)
	}
	tls := base.TLSClientConfig
	e.ownTrust = tls != nil && (tls.RootCAs != nil || tls.InsecureSkipVerify)
	host.Header = nil // the transport adds it, where it may be seen by nobody else
	host.Client = e.client()
	host.Authorizer = nil
	e.host = host
	return e
}
