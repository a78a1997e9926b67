package auth

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/nestedoci/nested/internal/flight"
)

// RegistryOptions are the settings of a [Registry]; the zero value is usable.
type RegistryOptions struct {
	// Header is sent with each request to the registry itself and to its token
	// endpoint, as containerd does, and nowhere else. Its values take the place
	// of others, but not of what a request needs, such as its Authorization.
	Header http.Header
	// Realms, when given, are the only hosts (host or host:port) besides the
	// registry itself that may be its token endpoint, wherever they are.
	// Otherwise it may be at any address that is not less public than the
	// registry's own.
	Realms []string
	// Dialer connects to what is neither the registry nor a proxy: token
	// endpoints, and where redirects and uploads lead. Each address is judged
	// before it is connected to. nil means one with a limit of 30 s, unless
	// base has a DialContext of its own: with that, an address is judged when it
	// is connected to, before anything is sent.
	Dialer *net.Dialer
	// HTTPFallback says that the caller retries over http what fails over
	// https, as containerd does for registries on localhost.
	HTTPFallback bool
	// OtherNames says that the registry's tokens may have other names for its
	// repositories than its paths, as those of mirrors below a path of their
	// own often do: a challenge's scope counts when it is for pulling from one
	// repository whose name ends in the path's.
	OtherNames bool
	// Connections bounds the connections to one host for content that takes long
	// to be read, and, by themselves, those for small requests to a host that
	// does not speak HTTP/2; 0 means [DefaultConnections]. Who keeps more bodies open at once than
	// that waits for ever. What is sent is not bounded.
	Connections int
	// Passing says that content is passed on to others, at their pace: what takes
	// long, and what is marked by [Paced], has as many connections as they ask
	// for, so that one who takes nothing holds nobody up.
	Passing bool
	// UserAgent is sent to the token endpoint.
	UserAgent string
	// Metrics counts tokens and challenges, when given.
	Metrics *Metrics
}

// Registry is one registry as seen by all authorizers of its repositories:
// its challenge, its tokens, and the clients that reach it.
type Registry struct {
	origin    *url.URL
	source    Source
	options   RegistryOptions
	transport *transport
	guarded   *transport // for uploads that go on elsewhere, and what manifests name
	endpoint  *transport // for token endpoints, who get credentials
	tokens    tokens
	others    others

	names flight.Map[Repository, string] // that are others than the paths'

	mu        sync.Mutex
	challenge *Challenge
}

// NewRegistry describes the registry at scheme://host, reached through a copy
// of base, whose repositories' credentials are in source.
func NewRegistry(scheme, host string, base *http.Transport, source Source, options RegistryOptions) *Registry {
	if options.Metrics == nil {
		options.Metrics = new(Metrics)
	}
	r := &Registry{origin: &url.URL{Scheme: scheme, Host: host}, source: source, options: options, others: newOthers()}
	r.transport = newTransport(base, r.origin, options, false)
	r.transport.lenient = true
	r.guarded = newTransport(base, r.origin, options, false)
	r.endpoint = newTransport(base, r.origin, options, true)
	for _, t := range []*transport{r.guarded, r.endpoint} {
		t.location, t.base = r.transport.location, r.transport.base
	}
	r.transport.careful, r.transport.secure = r.guarded, scheme == "https" && !options.HTTPFallback
	r.tokens = tokens{
		userAgent: options.UserAgent,
		metrics:   options.Metrics,
		client:    &http.Client{Transport: r.endpoint, CheckRedirect: checkTokenRedirect},
	}
	return r
}

// Format implements [fmt.Formatter]: tokens and headers do not print.
func (r *Registry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "registry "+r.origin.Host) }

// Transport returns the transport for requests to the registry and to where it
// redirects. It adds the registry's headers for the registry alone, and never
// connects to a loopback address unless the registry is on one. A host that the
// registry redirects to may be another registry; see [IsRedirected].
func (r *Registry) Transport() http.RoundTripper { return redirected{r} }

// CloseIdleConnections closes the connections that nobody uses.
func (r *Registry) CloseIdleConnections() {
	r.transport.closeIdle()
	r.guarded.closeIdle()
	r.endpoint.closeIdle()
	r.others.closeIdle()
}

// CheckRedirect is the policy for redirects of the registry, for
// [http.Client].
func (r *Registry) CheckRedirect(req *http.Request, via []*http.Request) error {
	hideQuery(req) // also of what is refused
	return checkRedirect(req, via)
}

// Authorizer returns the authorizer for fetching from one repository. The name
// is the one that the repository has on this registry.
func (r *Registry) Authorizer(repository Repository) *Authorizer {
	return &Authorizer{registry: r, repository: repository, actions: "pull"}
}

// PushAuthorizer returns the authorizer for pushing to one repository, with
// the repository's credential, and for mounting blobs of others there, which
// that credential has to be good for, too.
func (r *Registry) PushAuthorizer(repository Repository, mounted ...Repository) *Authorizer {
	a := &Authorizer{registry: r, repository: repository, actions: "pull,push"}
	for _, from := range mounted {
		a.mounted = append(a.mounted, from.pullScope())
	}
	return a
}

// DeleteAuthorizer returns the authorizer for deleting from one repository.
func (r *Registry) DeleteAuthorizer(repository Repository) *Authorizer {
	return &Authorizer{registry: r, repository: repository, actions: "delete"}
}

// Repository returns the registry's repository of a name. It need not obey
// the grammar: names of mirrors often do not.
func (r *Registry) Repository(name string) Repository { return Repository{r.origin.Host, name} }

// known returns the challenge that the registry gave first.
func (r *Registry) known() *Challenge {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.challenge
}

func (r *Registry) learn(c *Challenge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.challenge = c
}

// unlearn drops a challenge that could not be answered.
func (r *Registry) unlearn(c *Challenge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.challenge != nil && *r.challenge == *c {
		r.challenge = nil
	}
}

// Owns reports whether a URL is on the registry: of its origin, or what that
// is over http where the caller falls back to it.
func (r *Registry) Owns(u *url.URL) bool {
	overHTTP := url.URL{Scheme: "http", Host: r.origin.Host}
	return SameOrigin(u, r.origin) || r.options.HTTPFallback && SameOrigin(u, &overHTTP)
}

// plain reports whether the registry is spoken to over http.
func (r *Registry) plain() bool {
	return r.origin.Scheme == "http" || r.options.HTTPFallback && r.transport.plain.Load()
}

func (r *Registry) forget(credential Credential) {
	if f, ok := r.source.(Forgetter); ok {
		f.Forget(credential)
	}
}
