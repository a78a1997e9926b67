package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/reach"
	"github.com/nestedoci/nested/internal/retry"
)

// redirected sends the requests of a registry, also where it redirects them: a
// host that asks for a token there is a registry of its own (docs/spec.md,
// section 6), with its own challenge, token endpoint and tokens, and with the
// credential that the source holds for it, or none.
type redirected struct{ registry *Registry }

// otherExchanges is a request without a token, one with a token, and one after
// the token has expired.
const otherExchanges = 3

// RoundTrip implements [http.RoundTripper].
func (t redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	r := t.registry
	if req.Response == nil || r.Owns(req.URL) || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return r.transport.RoundTrip(req)
	}
	o, err := r.others.known(r, req)
	if err != nil {
		return nil, err
	}
	var refused []*http.Response
	for range otherExchanges {
		resp, err := o.send(req)
		if err != nil || !o.isRefusal(resp) {
			return resp, err
		}
		if o.authorizer == nil {
			o, err = r.others.at(r, req)
		}
		refused = append(refused, resp)
		if err == nil {
			err = o.learn(refused)
		}
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, retry.Final(err)
		}
	}
	return nil, retry.Final(o.denied(req, "answered 401 repeatedly"))
}

// other is a repository of a registry that another one redirects to.
type other struct {
	from       *Registry   // the registry that redirects there
	authorizer *Authorizer // nil as long as the host has not asked for a token
	isAPI      bool        // the URL is one of the distribution spec's
}

// send sends a request, signed when the host is known to require that.
func (o *other) send(req *http.Request) (*http.Response, error) {
	if o.authorizer == nil {
		return o.from.transport.RoundTrip(req)
	}
	signed := req.Clone(o.context(req))
	if err := o.authorizer.Authorize(signed.Context(), signed); err != nil {
		return nil, retry.Final(err)
	}
	if signed.Header.Get("Authorization") == "" {
		return o.from.transport.RoundTrip(req)
	}
	return o.authorizer.registry.transport.RoundTrip(signed)
}

// context marks lookups as those for a host that a registry named.
func (o *other) context(req *http.Request) context.Context {
	return context.WithValue(req.Context(), redirectedKey{}, true)
}

// denied is the error for the host's answer to the credential that was sent.
func (o *other) denied(req *http.Request, answer string) error {
	return o.authorizer.Denied(o.context(req), o.authorizer.registry.origin.Host+" "+answer)
}

// isRefusal reports whether an answer is that of a registry that asks for a
// token, or refuses one. Without a credential and without a challenge it is
// not: storage answers so when a signed URL has expired.
func (o *other) isRefusal(resp *http.Response) bool {
	shown := resp.Request.Header.Get("Authorization") != ""
	if resp.StatusCode != http.StatusUnauthorized {
		return shown && resp.StatusCode == http.StatusForbidden
	}
	challenge, err := ParseChallenge(resp.Header)
	return shown || err == nil && (challenge.Scheme == "bearer" || o.isAPI)
}

// learn learns from refusals. It returns nil when the request is worth
// retrying.
func (o *other) learn(refused []*http.Response) error {
	last := refused[len(refused)-1]
	if last.StatusCode == http.StatusForbidden {
		return o.denied(last.Request, "answered 403 Forbidden")
	}
	return o.authorizer.AddResponses(o.context(last.Request), refused)
}

type redirectedKey struct{}

// IsRedirected reports whether a credential is being looked up for a host that
// a registry redirects to. A source with one credential for all registries must
// not return it then.
func IsRedirected(ctx context.Context) bool { return ctx.Value(redirectedKey{}) != nil }

// others are the repositories of the registries that one redirects to.
type others struct {
	challenged  flight.Map[string, bool] // origins
	registries  flight.Map[otherKey, *Registry]
	authorizers flight.Map[otherRepository, *Authorizer]
}

// otherKey is an origin, and whether it gets a credential.
type otherKey struct {
	scheme, host string
	careful      bool
}

// otherRepository is a repository of one of the registries.
type otherRepository struct {
	registry   *Registry
	repository Repository
}

// maxOthers bounds the hosts and repositories that are remembered of those that
// a registry redirects to; most registries have one.
const maxOthers = 256

func newOthers() others {
	return others{
		challenged:  flight.Map[string, bool]{Most: maxOthers},
		registries:  flight.Map[otherKey, *Registry]{Most: maxOthers, Dropped: (*Registry).CloseIdleConnections},
		authorizers: flight.Map[otherRepository, *Authorizer]{Most: maxOthers},
	}
}

// known is [others.at] for hosts that have asked for a token before. For other
// hosts no credential is looked up: most are storage, and helpers would be run
// for it.
func (o *others) known(r *Registry, req *http.Request) (*other, error) {
	if challenged, _ := o.challenged.Get(originOf(req.URL)); challenged {
		return o.at(r, req)
	}
	_, isAPI := repositoryIn(req)
	return &other{from: r, isAPI: isAPI}, nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + dialAddress(u) }

// HasRedirectedTo reports whether the registry has redirected to the host of a
// URL before and that host asked for a token: it is another registry then, and
// not storage, to which any client may be sent.
func (a *Authorizer) HasRedirectedTo(u *url.URL) bool {
	challenged, _ := a.registry.others.challenged.Get(originOf(u))
	return challenged
}

// at returns the repository that a redirect leads to.
func (o *others) at(r *Registry, req *http.Request) (*other, error) {
	name, isAPI := repositoryIn(req)
	repository := Repository{strings.ToLower(req.URL.Host), name}
	found := &other{from: r, isAPI: isAPI}
	credential, err := r.source.Lookup(found.context(req), repository)
	if err != nil {
		return nil, retry.Final(err)
	}
	key := otherKey{req.URL.Scheme, repository.host, !credential.Anonymous()}
	if key.careful && key.scheme != "https" && reachOfName(reach.Hostname(req.URL)) != reach.Loopback {
		key.careful = false // it stays anonymous: no configuration allows http for this host
	}
	registry := o.registries.GetOrPut(key, flight.Forever, func() *Registry { return r.other(key, req.URL) })
	o.challenged.Put(originOf(req.URL), true, flight.Forever)
	found.authorizer = o.authorizers.GetOrPut(otherRepository{registry, repository}, flight.Forever, func() *Authorizer { return registry.Authorizer(repository) })
	return found, nil
}

// closeIdle closes connections.
func (o *others) closeIdle() {
	for _, r := range o.registries.Values() {
		r.CloseIdleConnections()
	}
}

// other describes a registry that this one redirects to. It is reached as this
// one reaches others: without its client certificate and headers, and where it
// gets a credential only at an address that is no less public, with a
// certificate that is verified.
func (r *Registry) other(key otherKey, u *url.URL) *Registry {
	options := r.options
	options.Header, options.HTTPFallback, options.OtherNames = nil, false, false
	base, source := r.transport.foreign, Source(withheld{r.source})
	if key.careful {
		base, source = r.guarded.verified, r.source
	}
	return NewRegistry(u.Scheme, key.host, base.own, source, options)
}

// withheld is a source that finds no credential and only says why.
type withheld struct{ Source }

// Lookup implements [Source].
func (w withheld) Lookup(ctx context.Context, repository Repository) (Credential, error) {
	c, err := w.Source.Lookup(ctx, repository)
	if !c.Anonymous() {
		c.Source = "none: " + c.Source + ", is not sent over http"
	}
	return Credential{Source: c.Source}, err
}

// repositoryIn returns the name of the repository that a redirected request is
// about: the one in its own path, when that is one of the distribution spec's,
// or else the one in the path of the request that was redirected.
func repositoryIn(req *http.Request) (name string, isAPI bool) {
	for r := req; ; r = r.Response.Request {
		if name, ok := repositoryOf(r.URL.Path); ok {
			return name, r == req
		}
		if r.Response == nil || r.Response.Request == nil {
			return "", false
		}
	}
}

// repositoryOf returns the repository's name in the path of a request for
// content.
func repositoryOf(path string) (name string, ok bool) {
	e, ok := apipath.ParseBelow(path)
	if !ok || e.Word == apipath.Uploads || !otherName.MatchString(e.Name) { // it is shown, and becomes a scope
		return "", false
	}
	return e.Name, true
}
