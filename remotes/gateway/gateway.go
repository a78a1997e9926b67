// Package gateway is a pull-only registry that follows child namespaces for
// clients that do not: stock containerd meets it on loopback as the first host
// of a registry in hosts.toml, and finds the members of a nested index in the
// repository of the index.
//
// It promises three things. A caller gets nothing that they could not pull from
// the registry themselves, with the credentials of the node (mode [Node]) or with
// those that they show (mode [Pod]). Plain content passes as it is, with the
// requests that a client would have made itself. And no answer is begun before
// the registry's is known to be good, so that a client can go on to the next
// host.
//
// In which order to read it:
//
//   - [Gateway], the handler, and answer, which knows whether it has begun
//     (gateway.go);
//   - who may ask, and for what: [NewServer] and its certificates (server.go),
//     guard (guard.go), request, which is parsed once (request.go), [Pattern]
//     (allow.go); failure, how a client is told no (answer.go);
//   - what a request may cost: budget, its time and its requests (budget.go),
//     and [Memory], the bytes of all (memory.go);
//   - how registries are asked: upstream (upstream.go), and again for the rest of
//     a transfer that broke (resume.go);
//   - what is served: document, which is read, verified and learnt (document.go),
//     manifests and indexes (manifest.go), blobs (blob.go), lists of tags and
//     referrers (list.go), carriers (carriers.go), and what a HEAD has left for
//     the GET that follows (held.go);
//   - where content is asked for: candidates, in order, and the rights of callers
//     (place.go); what they come from is remembered by the room below,
//     [locations.Cache], and searched for when that knows nothing (search.go,
//     walks.go);
//   - what the client of a nested index will ask for next, fetched before it does
//     (ahead.go);
//   - [Metrics], what is counted of all that (metrics.go).
package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway/locations"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Mode says whose credentials are used.
type Mode int

const (
	// Node uses those of the node. No answer carries a challenge: CRI gives a
	// pod's secrets to whoever asks for them.
	Node Mode = iota + 1
	// Pod uses those that the caller shows, asked for with Basic, for each
	// request and for each look into the location cache.
	Pod
)

// Options are the settings of a [Gateway]. Mode, Registries and Locations are
// required.
type Options struct {
	Mode       Mode
	Registries []string // that are served, as references name them
	Allow      []Pattern
	Locations  *locations.Cache

	// Credentials are the node's, for mode Node. Where a registry redirects to
	// another one, those for what is not allowed stay unused.
	Credentials auth.Source
	// HostsDir has a hosts.toml per registry, for the way upstream.
	HostsDir string
	// CheckHosts is that of [registry.Options].
	CheckHosts func(registry string) error

	Realms []string // see [auth.RegistryOptions]
	Keys   nested.Keys
	Limits nested.Limits

	// Timeout bounds the time until an answer begins; 25 s. containerd gives
	// up after 30.
	Timeout time.Duration
	// SearchRequests bounds the requests of a search; 0: nothing is searched for.
	SearchRequests int
	// Prefetch is how many answers may be there, or on their way, before the
	// client of a nested index asks for them; 0: none.
	Prefetch int
	// Memory is what requests may take; a budget of [DefaultMemory].
	Memory    *Memory
	UserAgent string
	Metrics   *Metrics // counts, when given
}

// Gateway is an [http.Handler]. It may be used by any number of goroutines.
type Gateway struct {
	options    Options
	registries map[string]bool
	rule       nested.Rule
	upstream   *upstream
	locations  *locations.Cache
	metrics    *Metrics
	memory     *Memory
	held       held
	carriers   carriers
	rights     rights
	searches   searches
	ahead      ahead
}

// New returns the handler that the options describe.
func New(options Options) *Gateway {
	options.UserAgent = cmp.Or(options.UserAgent, "nested")
	options.Timeout = cmp.Or(options.Timeout, 25*time.Second)
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	if options.Memory == nil {
		options.Memory = NewMemory(DefaultMemory)
	}
	g := &Gateway{
		options:    options,
		registries: map[string]bool{},
		rule:       nested.NewRule(options.Keys, options.Limits),
		locations:  options.Locations,
		metrics:    options.Metrics,
		memory:     options.Memory,
	}
	g.searches.memory = &g.memory.walked
	g.ahead = ahead{load: g.load, room: options.Prefetch, wait: options.Timeout / 3, keep: aheadTime, pulls: map[right]*pull{}}
	if options.Mode == Pod {
		g.ahead.keep = rightsTime
	}
	for _, r := range options.Registries {
		g.registries[r] = true
	}
	g.upstream = &upstream{
		metrics: options.Metrics,
		registries: registry.New(registry.Options{
			Credentials: g.credentials(),
			HostsDir:    options.HostsDir,
			CheckHosts:  options.CheckHosts,
			Realms:      options.Realms,
			Connections: ownConnections,
			Passing:     true,
			UserAgent:   options.UserAgent,
			Metrics:     &options.Metrics.Registries,
		}),
	}
	return g
}

// ownConnections bounds those to one host for what is read ahead. All clients of
// a node share them, so they are more than one client has. What clients ask for
// themselves they bound by asking: a bound for all would be one that a
// registry's silence to some takes from the others.
const ownConnections = 24

// Check reads the hosts.toml of each registry. Requests for one that cannot be
// read fail with the same error.
func (g *Gateway) Check() error {
	var all error
	for r := range g.registries {
		repository, err := auth.ParseRepository(r + "/x")
		if err == nil {
			_, err = g.upstream.registries.Hosts(repository)
		}
		all = errors.Join(all, err)
	}
	return all
}

// Close fetches nothing ahead any more, gives up what is kept for clients, and
// closes the connections to registries that nobody uses. What is being answered
// goes on.
func (g *Gateway) Close() {
	g.ahead.close()
	g.held.close()
	g.searches.close()
	g.upstream.registries.CloseIdleConnections()
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := request{}, guard(r)
	if err == nil {
		q, err = g.parse(r)
	}
	ctx := auth.Paced(context.WithValue(r.Context(), callerKey{}, q.caller))
	ctx, cancel := withBudget(ctx, q.right(), g.options.Timeout)
	defer cancel()
	answer := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	defer func() { g.metrics.request(q.kind, answer.status, answer.bytes) }()
	if err == nil {
		q.namespace(answer.Header())
		err = g.serve(ctx, answer, q)
	}
	switch {
	case err == nil:
	case answer.status == 0:
		g.fail(ctx, answer, q, err)
	default:
		panic(http.ErrAbortHandler) // a body that ends early must not look whole
	}
}

func (g *Gateway) serve(ctx context.Context, w *answer, q request) error {
	if d := g.ahead.claim(ctx, q); d != nil {
		g.metrics.hop(q, d.served)
		return d.send(ctx, w, false)
	}
	switch q.kind {
	case manifests:
		return g.serveManifest(ctx, w, q)
	case blobs:
		return g.serveBlob(ctx, w, q)
	case referrers:
		return g.serveReferrers(ctx, w, q)
	case tags:
		return g.serveTags(ctx, w, q)
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Length", strconv.Itoa(len("{}")))
	w.Header().Set("Content-Type", "application/json")
	return w.send(ctx, http.StatusOK, []byte("{}"), q.head)
}

// answer is the answer on its way. It knows whether it has begun, and ends one
// whose reader has stalled.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
}

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	err := a.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// send sends a whole answer, whose headers are set. The answer to a HEAD has no body.
func (a *answer) send(ctx context.Context, status int, body []byte, head bool) error {
	budgetOf(ctx).begun()
	a.WriteHeader(status)
	if head {
		return nil
	}
	_, err := a.Write(body)
	return err
}
