package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// FrontOptions are the settings of a [Front]. Registries is required.
type FrontOptions struct {
	// Registries has the registry behind each name that clients ask for, host or
	// host:port. A name without a port is for all ports.
	Registries map[string]string
	// Allow has the repositories of the registries that are served; empty: all.
	Allow []Pattern
	// SealKeys seal what clients carry between requests ([SealKeySize] bytes
	// each): the first seals, all open. Replicas share them. Without one, one is
	// drawn.
	SealKeys [][]byte
	// HostsDir has a hosts.toml per registry, for the way upstream.
	HostsDir string
	// CheckHosts is that of [registry.Options].
	CheckHosts func(registry string) error

	Realms []string // see [auth.RegistryOptions]
	Keys   nested.Keys
	Limits nested.Limits

	// FollowRedirects says that what registries redirect to is fetched here,
	// for clients that cannot reach it.
	FollowRedirects bool
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// MaxRequests bounds the requests of one caller at a time; 256.
	MaxRequests int

	// Timeout, SearchRequests, Prefetch and Memory are those of [Options].
	Timeout        time.Duration
	SearchRequests int
	Prefetch       int
	Memory         *find.Memory
	UserAgent      string
	Metrics        *Metrics // counts, when given
}

// Front is an [http.Handler] before registries, for a network: clients pull from
// it and push to it as if child namespaces were the registry's own. They log in
// with Basic, and each request goes upstream with what it showed. It keeps
// nothing that another replica needs. It may be used by any number of
// goroutines.
type Front struct {
	options   FrontOptions
	clients   *registry.Client
	locations *locations.Cache
	follows   *transport.Transport
	metrics   *Metrics
	logins    *logins
	crowds    crowds
	manifests *semaphore.Weighted // bytes of those that are being pushed
	stall     time.Duration       // [stallTimeout], for tests to change
}

// NewFront returns the handler that the options describe. Close it after use.
func NewFront(options FrontOptions) (*Front, error) {
	options.UserAgent = cmp.Or(options.UserAgent, "nested")
	options.Timeout = cmp.Or(options.Timeout, 25*time.Second)
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	sealing, err := newSeals(options.SealKeys)
	if err != nil {
		return nil, err
	}
	cache, err := locations.OpenInMemory(locations.Options{})
	if err != nil {
		return nil, err
	}
	f := &Front{options: options, locations: cache, metrics: options.Metrics, logins: newLogins(), crowds: crowds{most: cmp.Or(options.MaxRequests, 256)}, manifests: semaphore.NewWeighted(manifestMemory), stall: stallTimeout}
	f.clients = registry.New(registry.Options{
		Credentials: showing{},
		HostsDir:    options.HostsDir,
		CheckHosts:  options.CheckHosts,
		Realms:      options.Realms,
		Connections: ownConnections,
		Passing:     true,
		UserAgent:   options.UserAgent,
		Metrics:     &options.Metrics.Registries,
	})
	f.follows = transport.Before(&behind{f.clients, sealing}, f.clients, transport.Options{
		Locations:      cache,
		Keys:           options.Keys,
		Limits:         options.Limits,
		PerCaller:      true,
		Apart:          true,
		Complete:       true,
		Follow:         options.FollowRedirects,
		Timeout:        options.Timeout,
		SearchRequests: options.SearchRequests,
		Prefetch:       options.Prefetch,
		Memory:         options.Memory,
		Asked:          f.metrics.asked,
		Hopped:         f.metrics.hopped,
	})
	return f, nil
}

// Check reads the hosts.toml of each registry. Requests for one that cannot be
// read fail with the same error.
func (f *Front) Check() error {
	return checkHosts(f.clients, maps.Values(f.options.Registries))
}

// Close fetches nothing ahead any more, forgets what is known of members, and
// closes the connections to registries that nobody uses. What is being answered
// goes on.
func (f *Front) Close() {
	_ = f.follows.Close() // memory alone
	_ = f.locations.Close()
}

// ServeHTTP implements [http.Handler].
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := callerOf(r)
	who := f.logins.of(f.address(r), caller)
	if err == nil {
		err = f.logins.wait(r.Context(), who)
	}
	leave := func() {}
	if err == nil {
		leave, err = f.crowds.enter(r.Context(), who.place)
	}
	var resp *http.Response
	if err != nil {
		resp = f.follows.Refuse(r, err)
	} else {
		defer leave() // whatever happens
		resp = f.answer(w, r, caller, who)
	}
	defer resp.Body.Close()
	f.send(w, r, resp)
}

// send sends an answer to the client.
func (f *Front) send(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") // docker wants to see it in refusals, too
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	n, err := io.Copy(&paced{w, http.NewResponseController(w)}, resp.Body)
	f.metrics.request("serve", kindOf(r), resp.StatusCode, n)
	if err != nil {
		panic(http.ErrAbortHandler) // a body that ends early must not look complete
	}
}

// answer answers a request. The answer's body is to be closed.
func (f *Front) answer(w http.ResponseWriter, r *http.Request, caller callers.Caller, who login) *http.Response {
	shown := new(atomic.Bool)
	ctx := context.WithValue(callers.With(r.Context(), caller), shownKey{}, shown)
	resp, err := f.pass(w, r.WithContext(ctx))
	if err != nil {
		resp = f.follows.Refuse(r.WithContext(ctx), err)
	}
	switch {
	case !who.known: // there is nothing to guess
	case resp.StatusCode == http.StatusUnauthorized:
		f.logins.failed(who)
	case resp.StatusCode < http.StatusBadRequest && shown.Load():
		f.logins.succeeded(who)
	}
	return resp
}

// pass answers a request by asking the registry.
func (f *Front) pass(w http.ResponseWriter, r *http.Request) (*http.Response, error) {
	if err := notForBrowsers(r); err != nil {
		return nil, err
	}
	query := r.URL.Query()
	registry, err := f.registry(r.Host, query["ns"])
	if err != nil {
		return nil, err
	}
	at, q, err := readPath(r)
	switch {
	case err != nil:
		return nil, err
	case at.Word == atRoot:
		return f.base(r, registry)
	case at.Word == aboutFront:
		return f.statement(r, registry)
	}
	repository, err := auth.ParseRepository(registry + "/" + at.Name)
	if err != nil {
		return nil, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	if !allows(f.options.Allow, repository) {
		return nil, &find.Failure{Status: http.StatusForbidden, Code: "DENIED", Message: fmt.Sprintf("repository %s is not served here; see allow in the configuration", repository)}
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.URL.Path, out.Host, out.RequestURI = "https", registry, at.String(), "", ""
	out.Header.Del("Authorization")
	query = f.query(registry, query)
	out.URL.RawQuery = query.Encode()
	ask := f.follows.RoundTrip
	if q.Kind() != "" {
		q = q.With(out.Header, query).Of(repository, callers.Of(r.Context()))
		ask = func(r *http.Request) (*http.Response, error) { return f.follows.Answer(r, q) }
	}
	if r.Body == nil || r.Body == http.NoBody {
		return ask(out)
	}
	if at.Word == apipath.Manifests {
		size, full := f.takeManifest(r)
		if full != nil {
			return nil, full
		}
		defer f.manifests.Release(size)
	}
	body := f.body(w, r, at)
	out.Body = body
	resp, err := ask(out)
	failed := body.failed.Load()
	if failed == nil {
		return resp, err
	}
	if err == nil {
		_ = resp.Body.Close() // whatever became of half of the content
	}
	return nil, failed
}

// parameters are those of the distribution spec's requests that write, and of
// conformant extensions.
var parameters = []string{"digest", "digest-algorithm", "from", "last", "mount", "n", "artifactType", "tag"}

// query is what the registry gets of a query. A blob is mounted only from what is
// served here, too.
func (f *Front) query(registry string, query url.Values) url.Values {
	known := url.Values{}
	for _, name := range parameters {
		if v := query[name]; len(v) > 0 {
			known[name] = v
		}
	}
	if from := known["from"]; from != nil {
		repository, err := auth.ParseRepository(registry + "/" + from[0])
		if known["from"] = from[:1]; err == nil && !allows(f.options.Allow, repository) {
			known.Del("from")
			known.Del("mount")
		}
	}
	return known
}

// registry is the one behind the name that a request is for. A ns, as containerd
// sends it to mirrors, has to name it as well.
func (f *Front) registry(name string, ns []string) (string, error) {
	host := strings.ToLower(name)
	registry, ok := f.options.Registries[host]
	if withoutPort, _, err := net.SplitHostPort(host); !ok && err == nil {
		registry, ok = f.options.Registries[withoutPort]
	}
	if !ok {
		return "", &find.Failure{Status: http.StatusMisdirectedRequest, Code: "DENIED", Message: fmt.Sprintf("no registry is served as %.80q; see registries in the configuration", name)}
	}
	if len(ns) > 1 || len(ns) == 1 && ns[0] != registry {
		return "", &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: fmt.Sprintf("ns is %.80q, and the registry here another one", ns)}
	}
	return registry, nil
}

// base answers as the registry does at its root, so that a wrong password is
// found out when somebody logs in. Where the registry asks for a token, who
// shows nothing is asked for Basic.
func (f *Front) base(r *http.Request, registry string) (*http.Response, error) {
	resp, err := f.clients.Base(r.Context(), registry, "/")
	if err != nil {
		return nil, err
	}
	if err = resp.Body.Close(); err != nil {
		return nil, err
	}
	signed := resp.Request.Header.Get("Authorization") != ""
	switch {
	case resp.StatusCode == http.StatusOK && signed && callers.Of(r.Context()) == (callers.Caller{}):
		return nil, &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "log in: docker login " + printableHost(r.Host)}
	case resp.StatusCode != http.StatusOK:
		return nil, &find.Failure{Status: http.StatusBadGateway, Code: "UNKNOWN", Message: "registry " + registry + " answered " + resp.Status + " at /v2/"}
	}
	return answers.JSON(http.StatusOK, struct{}{}), nil
}

// statementPath is where a front says what it does (docs/spec.md, section 8a).
const statementPath = registry.StatementPath

// statement says so: it validates and serves, and indexes are safe from the
// registry's clean-up only where the registry says so itself.
func (f *Front) statement(r *http.Request, behind string) (*http.Response, error) {
	keeps := false
	resp, err := f.clients.Base(r.Context(), behind, strings.TrimPrefix(statementPath, "/v2"))
	if denied, ok := errors.AsType[*auth.DeniedError](err); ok {
		return nil, denied
	}
	if err == nil {
		keeps, err = registry.ReadStatement(resp)
	}
	return answers.JSON(http.StatusOK, map[string]any{"version": 2, "validates": true, "serves": true, "cleansUp": keeps && err == nil}), nil
}
