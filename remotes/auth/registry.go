package auth

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/nestedoci/nested/internal/flight"
)

// RegistryOptions are the settings of a [Registry]; the zero value is usable.
type RegistryOptions struct {
	// Header is sent with each request to the registry itself and to its token
	// endpoint, as containerd does, and nowhere else. Its values replace
	// others, except those that a request depends on, such as its
	// Authorization.
	Header http.Header
	// Realms, when given, are the only hosts (host or host:port) besides the
	// registry itself that may be its token endpoint, wherever they are.
	// Otherwise it may be at any address that is not less public than the
	// registry's own.
	Realms []string
	// Dialer connects to hosts other than the registry and proxies: token
	// endpoints, and the targets of redirects and uploads. Each address is
	// checked before it is connected to. nil means a dialer with a limit of 30
	// s, unless base has a DialContext of its own: with that, an address is
	// checked once it is connected, before anything is sent.
	Dialer *net.Dialer
	// HTTPFallback says that the caller retries over http when https fails, as
	// containerd does for registries on localhost.
	HTTPFallback bool
	// OtherNames says that the registry's tokens may use other names for its
	// repositories than its paths, as those of mirrors below a path often do: a
	// challenge's scope counts when it is for pulling from one repository whose
	// name ends in the path's.
	OtherNames bool
	// Connections bounds the connections to one host for large bodies, and
	// separately those for small requests to a host that does not speak HTTP/2;
	// 0 means [DefaultConnections]. A caller that keeps more bodies open at
	// once than that waits for ever. Connections for sending are not bounded.
	Connections int
	// Passing says that content is passed on to other clients, at their pace:
	// large bodies, and requests marked by [Paced], have as many connections as
	// they need, so that a client that does not read delays nobody.
	Passing bool
	// UserAgent is sent to the token endpoint.
	UserAgent string
	// Metrics counts tokens and challenges, when given.
	Metrics *Metrics
}

// Registry is one registry as shared by the authorizers of all its
// repositories: its challenge, its tokens, and the clients that reach it.
type Registry struct {
	origin    *url.URL
	source    Source
	options   RegistryOptions
	transport *transport
	guarded   *transport // for uploads that continue at another host, and for hosts that manifests name
	endpoint  *transport // for token endpoints, which get credentials
	tokens    tokens
	others    others

	names flight.Map[Repository, string] // where the registry's name is not the path's

	challenge learned // the one that it gave first
}

// NewRegistry describes the registry at scheme://host, reached through a copy
// of base. source holds the credentials for its repositories.
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

// CloseIdleConnections closes the connections that are not in use.
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

// Owns reports whether a URL is on the registry: of its origin, or of the same
// over http where the caller falls back to it.
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
