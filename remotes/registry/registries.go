package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Options are the settings of a [Registries].
type Options struct {
	// Credentials holds the credentials for repositories; nil means that
	// there are none.
	Credentials auth.Source
	// HostsDir is a directory with a hosts.toml per registry, in containerd's
	// format (mirrors, CAs, client certificates, headers); empty means none.
	HostsDir string
	// CheckHosts is called for a registry before its files in HostsDir are
	// read, when given. An error is that of every request to the registry.
	CheckHosts func(registry string) error
	// PlainHTTP speaks http to registries that hosts.toml does not describe.
	PlainHTTP bool
	// Realms are the token endpoints to allow; see [auth.RegistryOptions].
	Realms []string
	// Connections bounds the connections to one host for large content, and by
	// themselves those for small; see [auth.RegistryOptions].
	Connections int
	// Passing says that content is passed on to others at their pace; see
	// [auth.RegistryOptions].
	Passing bool
	// UserAgent names the program to registries.
	UserAgent string
	// Header goes to registries with each request for content.
	Header http.Header
	// Lenient passes over a hosts.toml that cannot be read, as containerd
	// does, and logs it. Otherwise it is an error.
	Lenient bool
	// UpdateClient is called with each client that is made, when given.
	UpdateClient func(*http.Client) error
	// Metrics counts requests, when given.
	Metrics *Metrics
}

// Client is the client of all registries, a resolver that gives each repository a docker resolver of
// its own, with its own token. The resolvers of one registry share its
// connections and its challenge. Proxies are those of the environment.
type Client struct {
	options Options
	hosts   docker.RegistryHosts
	base    map[*http.Client]*http.Transport // by the client that containerd made

	complaints *complaints
	lists      flight.Turns[listOf]

	mu           sync.Mutex
	endpoints    map[string][]*endpoint // by registry
	repositories map[auth.Repository][]Host
	transfer     []transfer.ImageResolverOption
	unmountable  map[mount]bool // mounts that were refused

	keeping flight.Group[string, bool] // by registry
}

var (
	_ remotes.ResolverWithOptions = (*Client)(nil)
)

// New returns a client of all registries. HostsDir is read for a
// registry when it is first asked.
func New(options Options) *Client {
	if options.Credentials == nil {
		options.Credentials = auth.Sources{}
	}
	if options.Metrics == nil {
		options.Metrics = new(Metrics)
	}
	r := &Client{
		options:      options,
		base:         map[*http.Client]*http.Transport{},
		endpoints:    map[string][]*endpoint{},
		repositories: map[auth.Repository][]Host{},
		unmountable:  map[mount]bool{},
	}
	ho := config.HostOptions{UpdateClient: r.keepTransport}
	if options.HostsDir != "" {
		ho.HostDir = config.HostDirFromRoot(options.HostsDir)
	}
	if options.PlainHTTP {
		ho.DefaultScheme = "http"
	}
	r.complaints = new(complaints)
	r.hosts = config.ConfigureHosts(r.complaints.listen(), ho)
	return r
}

// keepTransport is called by containerd with each client that it makes,
// before it may wrap the client's transport.
func (r *Client) keepTransport(client *http.Client) error {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return fmt.Errorf("containerd made a client with a transport of type %T", client.Transport)
	}
	// Members are fetched side by side from one host; Go keeps two idle
	// connections to a host unless told otherwise.
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 256, 64
	r.base[client] = transport
	return nil
}

// endpointsOf returns the endpoints of a registry, which are made once.
func (r *Client) endpointsOf(registry string) ([]*endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if endpoints, ok := r.endpoints[registry]; ok {
		return endpoints, nil
	}
	if r.options.CheckHosts != nil {
		if err := r.options.CheckHosts(registry); err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry, err)
		}
	}
	hosts, err := r.hosts(registry)
	if heard := r.complaints.heard(); heard != nil && r.options.Lenient {
		log.L.WithError(heard).WithField("registry", registry).Error("its hosts.toml is passed over")
	} else {
		err = errors.Join(err, heard)
	}
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry, err)
	}
	endpoints := make([]*endpoint, len(hosts))
	for i, host := range hosts {
		endpoints[i] = r.newEndpoint(host)
		if r.options.UpdateClient == nil {
			continue
		}
		if err := r.options.UpdateClient(endpoints[i].host.Client); err != nil {
			return nil, err
		}
	}
	r.endpoints[registry] = endpoints
	return endpoints, nil
}

// newEndpoint puts our client in the place of containerd's. The caller holds
// the lock.
func (r *Client) newEndpoint(host docker.RegistryHost) *endpoint {
	base := r.base[host.Client]
	fallback := host.Client.Transport != http.RoundTripper(base)
	e := &endpoint{
		prefix:  strings.TrimPrefix(strings.TrimPrefix(host.Path, "/v2"), "/"),
		header:  r.options.Header,
		metrics: r.options.Metrics,
	}
	if !strings.HasPrefix(host.Path, "/v2/") {
		e.prefix = "" // an API root of its own
	}
	e.registry = auth.NewRegistry(host.Scheme, host.Host, base, r.options.Credentials, auth.RegistryOptions{
		Header:       host.Header,
		Realms:       r.options.Realms,
		Dialer:       &net.Dialer{Timeout: 30 * time.Second}, // as docker.DefaultHTTPTransport has it
		HTTPFallback: fallback,
		OtherNames:   host.Path != "/v2" && !strings.HasPrefix(host.Path, "/v2/"),
		Connections:  r.options.Connections,
		Passing:      r.options.Passing,
		UserAgent:    r.options.UserAgent,
		Metrics:      &r.options.Metrics.Metrics,
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

// Host is one host of a registry, the registry itself or a mirror, as it is
// asked about one repository: a docker.RegistryHost, whose client follows
// redirects by this project's policy.
type Host struct {
	docker.RegistryHost
	// Name is the repository's name on this host.
	Name string
	// Authorizer signs the requests; it is the RegistryHost's, too.
	Authorizer *auth.Authorizer
	// elsewhere makes a client for a place that a manifest names.
	elsewhere func(*url.URL) *http.Client
	// OwnTrust says that hosts.toml gives CAs for this host or turns
	// verification off, so that others may not be able to verify what it
	// redirects to.
	OwnTrust bool
}

// maxRepositories bounds the repositories whose hosts are remembered.
const maxRepositories = 10_000

// Hosts returns the hosts of a repository's registry in the order of asking.
func (r *Client) Hosts(repository auth.Repository) ([]Host, error) {
	endpoints, err := r.endpointsOf(repository.Host())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if hosts, ok := r.repositories[repository]; ok {
		return hosts, nil
	}
	hosts := make([]Host, len(endpoints))
	for i, e := range endpoints {
		hosts[i] = e.hostFor(repository.Name())
	}
	if len(r.repositories) >= maxRepositories {
		clear(r.repositories)
	}
	r.repositories[repository] = hosts
	return hosts, nil
}

// Prepare asks for a repository's token when its registry is known to want
// one, so that who asks for content next need not wait for it. What fails is
// left to him.
func (r *Client) Prepare(ctx context.Context, repository auth.Repository) {
	hosts, err := r.Hosts(repository)
	if err != nil || len(hosts) == 0 {
		return
	}
	u := url.URL{Scheme: hosts[0].Scheme, Host: hosts[0].Host, Path: hosts[0].Path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return
	}
	_ = hosts[0].Authorizer.Authorize(ctx, req) // the request is not sent
}

// resolver returns the docker resolver for the repository of a reference, for
// reading.
func (r *Client) resolver(ref string) (remotes.Resolver, []Host, error) {
	repository, err := oci.RepositoryOf(ref)
	if err != nil {
		return nil, nil, err
	}
	hosts, err := r.Hosts(repository)
	if err != nil {
		return nil, nil, err
	}
	return r.resolverAt(retryingHosts(hosts)), hosts, nil
}

// retryingHosts asks hosts again, each as long as there is no other to ask.
func retryingHosts(hosts []Host) []Host {
	asked := slices.Clone(hosts)
	for i, h := range asked {
		asked[i].RegistryHost = retrying(h.RegistryHost, i == len(asked)-1)
		asked[i].RegistryHost.Authorizer = manifestFirst{h.Authorizer}
	}
	return asked
}

// resolverAt returns a docker resolver that asks some hosts.
func (r *Client) resolverAt(hosts []Host) remotes.Resolver {
	plain := make([]docker.RegistryHost, len(hosts))
	for i, h := range hosts {
		plain[i] = h.RegistryHost
	}
	resolver := docker.NewResolver(docker.ResolverOptions{
		Hosts:   func(string) ([]docker.RegistryHost, error) { return plain, nil },
		Headers: r.header(),
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	resolver.(remotes.ResolverWithOptions).SetOptions(r.transfer...)
	return resolver
}

// header goes to registries with each request for content.
func (r *Client) header() http.Header {
	header := http.Header{}
	maps.Copy(header, r.options.Header)
	if r.options.UserAgent != "" {
		header.Set("User-Agent", r.options.UserAgent)
	}
	return header
}

// SetOptions implements remotes.ResolverWithOptions. The options are those of
// all pulls from then on; they replace earlier ones.
func (r *Client) SetOptions(options ...transfer.ImageResolverOption) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transfer = options
}

// Resolve implements remotes.Resolver. It asks with HEAD, as containerd does,
// and with GET where HEAD is refused or says of nothing that could be a
// manifest: the GET decides.
func (r *Client) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	ctx = looking(ctx)
	name, desc, err := r.resolve(ctx, ref)
	if err == nil && !isManifest(desc) && !lookupOf(ctx).absent || isRefusedHead(err) {
		name, desc, _, err = r.ResolveContent(ctx, ref)
	}
	return name, desc, err
}

func (r *Client) resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	resolver, hosts, err := r.resolver(ref)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	name, desc, err := resolver.Resolve(auth.Brief(ctx), ref)
	return name, desc, explain(ctx, hosts, err)
}

// ResolveContent is Resolve with the content of the manifest or index, which is
// nil when that is not at hand: one GET in place of HEAD and GET. It is for
// whoever would fetch it next, and nobody has verified it.
func (r *Client) ResolveContent(ctx context.Context, ref string) (string, ocispec.Descriptor, []byte, error) {
	ctx, got := byGet(looking(ctx))
	name, desc, err := r.resolve(ctx, ref)
	return name, desc, got.data, err
}

// Fetcher implements remotes.Resolver.
func (r *Client) Fetcher(ctx context.Context, ref string) (remotes.Fetcher, error) {
	resolver, hosts, err := r.resolver(ref)
	if err != nil {
		return nil, err
	}
	inner, err := resolver.Fetcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	repository, err := oci.RepositoryOf(ref)
	return fetcher{inner, r, ref, repository, hosts}, err
}

// CloseIdleConnections closes the connections that nobody uses. Otherwise
// they close by themselves after half a minute.
func (r *Client) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, endpoints := range r.endpoints {
		for _, e := range endpoints {
			e.registry.CloseIdleConnections()
		}
	}
}
