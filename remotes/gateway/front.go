package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport"
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
	logins    logins
	crowds    crowds
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
	f := &Front{options: options, locations: cache, metrics: options.Metrics, crowds: crowds{most: cmp.Or(options.MaxRequests, 256)}}
	f.clients = registry.New(registry.Options{
		Credentials: find.Callers{},
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
	resp, leave := f.answer(w, r)
	defer leave()
	defer resp.Body.Close()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") // docker wants to see it in every answer, refusals too
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	n, err := io.Copy(&paced{w, http.NewResponseController(w)}, resp.Body)
	f.metrics.request("serve", kindOf(r), resp.StatusCode, n)
	if err != nil {
		panic(http.ErrAbortHandler) // a body that ends early must not look complete
	}
}

// answer answers a request when it is its caller's turn. The answer's body is to be
// closed, and leave to be called, when all is sent.
func (f *Front) answer(w http.ResponseWriter, r *http.Request) (resp *http.Response, leave func()) {
	leave = func() {}
	caller, err := callerOf(r)
	who := login{f.address(r), caller.Username}
	if err == nil {
		err = f.logins.wait(r.Context(), who)
	}
	if err == nil {
		leave, err = f.crowds.enter(r.Context(), who)
	}
	if err != nil {
		return f.follows.Refuse(r, err), func() {}
	}
	ctx := find.WithCaller(r.Context(), caller)
	if resp, err = f.pass(w, r.WithContext(ctx)); err != nil {
		resp = f.follows.Refuse(r.WithContext(ctx), err)
	}
	switch {
	case caller == (find.Caller{}): // there is nothing to guess
	case resp.StatusCode == http.StatusUnauthorized:
		f.logins.failed(who)
	case resp.StatusCode < http.StatusBadRequest:
		f.logins.succeeded(who)
	}
	return resp, leave
}

// callerOf is whose request it is. Who writes has to say so first: some clients
// show their credential only when they are asked for it.
func callerOf(r *http.Request) (find.Caller, error) {
	username, password, ok := r.BasicAuth()
	caller := find.Caller{Username: username, Password: password}
	switch {
	case !ok && r.Header.Get("Authorization") != "":
		return find.Caller{}, &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "credentials are taken as Basic; tokens of the registry are for the registry"}
	case caller == (find.Caller{}) && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return caller, &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "log in to push: docker login " + printableHost(r.Host)}
	}
	return caller, nil
}

// printableHost is a Host header as it may be shown.
func printableHost(host string) string {
	if _, err := auth.ParseRepository(strings.ToLower(host) + "/x"); err != nil {
		return "HOST"
	}
	return host
}

// address is where a request comes from: for IPv6 the network of it.
func (f *Front) address(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at := from.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil || !slices.ContainsFunc(f.options.Proxies, func(p netip.Prefix) bool { return p.Contains(at) }) {
			break
		}
		at = before.Unmap()
	}
	if at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			return network.String()
		}
	}
	return at.String()
}

// pass answers a request by asking the registry.
func (f *Front) pass(w http.ResponseWriter, r *http.Request) (*http.Response, error) {
	if err := notForBrowsers(r); err != nil {
		return nil, err
	}
	registry, err := f.registry(r)
	if err != nil {
		return nil, err
	}
	switch r.URL.Path {
	case "/v2", "/v2/":
		return f.base(r, registry)
	case statementPath:
		return f.statement(r, registry)
	}
	q, err := readPath(r)
	if err != nil {
		return nil, err
	}
	repository, err := auth.ParseRepository(registry + "/" + q.name)
	if err != nil {
		return nil, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	if !allows(f.options.Allow, repository) {
		return nil, &find.Failure{Status: http.StatusForbidden, Code: "DENIED", Message: fmt.Sprintf("repository %s is not served here; see allow in the configuration", repository)}
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.URL.Path, out.Host, out.RequestURI = "https", registry, q.String(), "", ""
	out.Header.Del("Authorization")
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = f.body(w, r, q)
	}
	return f.follows.RoundTrip(out)
}

// registry is the one behind the name that a request is for. A ns, as containerd
// sends it to mirrors, has to name it as well.
func (f *Front) registry(r *http.Request) (string, error) {
	host := strings.ToLower(r.Host)
	registry, ok := f.options.Registries[host]
	if name, _, err := net.SplitHostPort(host); !ok && err == nil {
		registry, ok = f.options.Registries[name]
	}
	if !ok {
		return "", &find.Failure{Status: http.StatusMisdirectedRequest, Code: "DENIED", Message: fmt.Sprintf("no registry is served as %.80q; see registries in the configuration", r.Host)}
	}
	if ns := r.URL.Query()["ns"]; len(ns) > 1 || len(ns) == 1 && ns[0] != registry {
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
	case resp.StatusCode == http.StatusOK && signed && find.CallerOf(r.Context()) == (find.Caller{}):
		return nil, &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "log in: docker login " + printableHost(r.Host)}
	case resp.StatusCode != http.StatusOK:
		return nil, &find.Failure{Status: http.StatusBadGateway, Code: "UNKNOWN", Message: "registry " + registry + " answered " + resp.Status + " at /v2/"}
	}
	return find.AnswerJSON(http.StatusOK, struct{}{}), nil
}

// statementPath is where a front says what it does (docs/spec.md, section 8a).
const statementPath = registry.StatementPath

// statement says so: it validates and serves, and indexes are safe from the
// registry's clean-up only where the registry says so itself.
func (f *Front) statement(r *http.Request, behind string) (*http.Response, error) {
	keeps := false
	resp, err := f.clients.Base(r.Context(), behind, strings.TrimPrefix(statementPath, "/v2"))
	if err == nil {
		keeps, err = registry.ReadStatement(resp)
	}
	return find.AnswerJSON(http.StatusOK, map[string]any{"version": 2, "validates": true, "serves": true, "cleansUp": keeps && err == nil}), nil
}

// maxManifest bounds a manifest that is pushed, in bytes, as the distribution
// spec asks registries to.
const maxManifest = 4 << 20

// body is the content of a request, whose reader waits for a stalled client no
// longer than [stallTimeout].
func (f *Front) body(w http.ResponseWriter, r *http.Request, q endpoint) io.ReadCloser {
	body := &pacedBody{r.Body, http.NewResponseController(w)}
	if q.word == "manifests" {
		return boundedBody{http.MaxBytesReader(w, body, maxManifest)}
	}
	return body
}

// boundedBody is one of [http.MaxBytesReader].
type boundedBody struct{ io.ReadCloser }

// Read implements [io.Reader].
func (b boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = &find.Failure{Status: http.StatusRequestEntityTooLarge, Code: "SIZE_INVALID", Message: "a manifest may have 4 MiB at most"}
	}
	return n, err
}

// pacedBody is a body that arrives, and ends when its writer has stalled.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements [io.Reader].
func (b *pacedBody) Read(p []byte) (int, error) {
	err := b.control.SetReadDeadline(time.Now().Add(stallTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}
