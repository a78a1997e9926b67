package registry

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
)

// Options are the settings of a [Client].
type Options struct {
	// Credentials holds the credentials for repositories; nil means that
	// there are none.
	Credentials auth.Source
	// HostsDir is a directory with a hosts.toml per registry, in containerd's
	// format (mirrors, CAs, client certificates, headers); empty means none.
	HostsDir string
	// CheckHosts, when given, is called for a registry before its files in
	// HostsDir are read. Its error becomes the error of every request to the
	// registry.
	CheckHosts func(registry string) error
	// PlainHTTP uses http for registries that hosts.toml does not describe.
	PlainHTTP bool
	// Realms are the allowed token endpoints; see [auth.RegistryOptions].
	Realms []string
	// Connections bounds the connections to one host for large bodies, and
	// separately those for small ones; see [auth.RegistryOptions].
	Connections int
	// Passing says that content is passed on to other clients at their pace;
	// see [auth.RegistryOptions].
	Passing bool
	// UserAgent names the program to registries.
	UserAgent string
	// Header is sent to registries with each request for content.
	Header http.Header
	// Lenient skips a hosts.toml that cannot be read, as containerd does, and
	// logs it. Otherwise it is an error.
	Lenient bool
	// UpdateClient, when given, is called with each client that is made.
	UpdateClient func(*http.Client) error
	// Metrics, when given, counts requests.
	Metrics *Metrics
}

// Client is the client of all registries, and a containerd resolver that gives
// each repository a docker resolver of its own, with its own token. The
// resolvers of one registry share its connections and its challenge. Proxies
// are those of the environment. It may be used by several goroutines at once,
// and is made by [New].
type Client struct {
	options Options
	hosts   docker.RegistryHosts
	base    map[*http.Client]*http.Transport // by the client that containerd made

	problems *hostsProblems
	lists    flight.Turns[listOf]
	keeping  flight.Group[string, bool] // by registry

	repositories flight.Map[auth.Repository, []Host]
	unmountable  flight.Map[mount, bool] // mounts that were refused

	mu        sync.Mutex
	endpoints map[string][]*endpoint // by registry
	transfer  []transfer.ImageResolverOption
}

var _ remotes.ResolverWithOptions = (*Client)(nil)

// New returns a client. HostsDir is read for a registry before the first
// request to it.
func New(options Options) *Client {
	if options.Credentials == nil {
		options.Credentials = auth.Sources{}
	}
	if options.Metrics == nil {
		options.Metrics = new(Metrics)
	}
	c := &Client{
		options:   options,
		base:      map[*http.Client]*http.Transport{},
		endpoints: map[string][]*endpoint{},
	}
	ho := config.HostOptions{UpdateClient: c.keepTransport}
	if options.HostsDir != "" {
		ho.HostDir = config.HostDirFromRoot(options.HostsDir)
	}
	if options.PlainHTTP {
		ho.DefaultScheme = "http"
	}
	c.problems = new(hostsProblems)
	c.hosts = config.ConfigureHosts(c.problems.listen(), ho)
	return c
}

// Prepare fetches a repository's token when its registry is known to require
// one, so that the next request need not wait for it. Failures are left to that
// request.
func (c *Client) Prepare(ctx context.Context, repository auth.Repository) {
	if hosts, err := c.Hosts(repository); err == nil && len(hosts) > 0 {
		_, _ = hosts[0].Authorization(ctx)
	}
}

// header is sent to registries with each request for content.
func (c *Client) header() http.Header {
	header := http.Header{}
	maps.Copy(header, c.options.Header)
	if c.options.UserAgent != "" {
		header.Set("User-Agent", c.options.UserAgent)
	}
	return header
}

// CloseIdleConnections closes the connections that are not in use. Otherwise
// they close by themselves after half a minute.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, endpoints := range c.endpoints {
		for _, e := range endpoints {
			e.registry.CloseIdleConnections()
		}
	}
}

// Metrics counts the requests of a [Client]. The zero value is ready for
// use.
type Metrics struct {
	auth.Metrics
	Manifests atomic.Int64 // requests for manifests and indexes
	Blobs     atomic.Int64 // requests for other content
	Bytes     atomic.Int64 // bytes of bodies
}
