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
//   - [Gateway], the handler, and how an answer is found and sent (gateway.go);
//   - who may ask, and for what: [NewServer] and its certificates (server.go),
//     guard (guard.go), request, which is parsed once (request.go), [Pattern]
//     (allow.go); failure, how a client is told no (answer.go);
//   - what a request may cost: budget, its time and its requests (budget.go),
//     and [Memory], the bytes of all, by what package memory makes (memory.go);
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
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
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
	g.searches.memory = g.memory.walked
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
	q, resp := g.answer(r)
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, err := io.CopyBuffer(&paced{w, http.NewResponseController(w)}, resp.Body, *buffer)
	g.metrics.request(q.kind, resp.StatusCode, n)
	if err != nil {
		panic(http.ErrAbortHandler) // a body that ends early must not look whole
	}
}

// buffers hold two records of TLS, more than which no read returns.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// paced is a body on its way, which ends when its reader has stalled.
type paced struct {
	io.Writer
	control *http.ResponseController
}

// Write implements [io.Writer].
func (p *paced) Write(data []byte) (int, error) {
	err := p.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.Writer.Write(data)
}

// answer answers a request, which ends when the body of the answer is closed.
// What failed is an answer, too.
func (g *Gateway) answer(r *http.Request) (request, *http.Response) {
	q, err := request{}, guard(r)
	if err == nil {
		q, err = g.parse(r)
	}
	ctx := auth.Paced(context.WithValue(r.Context(), callerKey{}, q.caller))
	ctx, end := withBudget(ctx, q.right(), g.options.Timeout)
	var resp *http.Response
	if err == nil {
		resp, err = g.find(ctx, q)
	}
	if err != nil {
		resp = g.fail(ctx, q, err)
	}
	budgetOf(ctx).begun()
	q.namespace(resp.Header)
	if q.head {
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	resp.Body = &body{resp.Body, end}
	return q, resp
}

// find finds what a request asks for.
func (g *Gateway) find(ctx context.Context, q request) (*http.Response, error) {
	if d := g.ahead.claim(ctx, q); d != nil {
		g.metrics.hop(q, d.served)
		return d.answer(), nil
	}
	switch q.kind {
	case manifests:
		return g.findManifest(ctx, q)
	case blobs:
		return g.findBlob(ctx, q)
	case referrers:
		return g.findReferrers(ctx, q)
	case tags:
		return g.findTags(ctx, q)
	}
	header := http.Header{"Docker-Distribution-Api-Version": {"registry/2.0"}, "Content-Type": {"application/json"}}
	return answerWith(http.StatusOK, header, []byte("{}")), nil
}

// answerWith is an answer whose body is at hand.
func answerWith(status int, header http.Header, data []byte) *http.Response {
	header.Set("Content-Length", strconv.Itoa(len(data)))
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data))}
}
