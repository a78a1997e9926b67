// Package gateway is a pull-only registry that follows child namespaces for
// clients that do not: stock containerd meets it on loopback as the first host
// of a registry in hosts.toml, and finds the members of a nested index in the
// repository of the index.
//
// It promises three things. A caller gets nothing that it could not pull from
// the registry itself, with the credentials of the node (mode [Node]) or with
// those that it shows (mode [Pod]). Plain content passes as it is, with the
// requests that a client would have made itself. And no answer is begun before
// the registry's is known to be good, so that a client can go on to the next
// host.
//
// A [Front] is the same for a network, for pulling and pushing: clients show
// Basic, as in mode pod, and see a registry that supports child namespaces.
//
// What is asked for is found by package find. Here is who may ask, and for
// what: [Gateway], the handler (gateway.go); guard and the caller (guard.go); the
// registry and the repository that a request names (serve.go) and [Pattern]s
// (allow.go); [NewServer] (server.go), its certificate (certificate.go) and who
// may stay connected (connections.go); [Metrics], what is counted of all that
// (metrics.go). [Front] (front.go) has its paths in endpoint.go, who asks in
// callers.go, what slows down those who guess in logins.go, what bounds content
// that comes in bodies.go, and the way to the registry in behind.go, with what
// clients carry sealed (seal.go) and the registry's answers made theirs
// (written.go).
package gateway

import (
	"cmp"
	"errors"
	"io"
	"iter"
	"maps"
	"net/http"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
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
	// Memory is what requests may take; a budget of [transport.DefaultMemory].
	Memory    *find.Memory
	UserAgent string
	Metrics   *Metrics // counts, when given
}

// Gateway is an [http.Handler]. It may be used by any number of goroutines.
type Gateway struct {
	options Options
	serves  map[string]string // registries, by their first component of a path
	clients *registry.Client
	finder  *find.Finder
	metrics *Metrics
}

// New returns the handler that the options describe.
func New(options Options) *Gateway {
	options.UserAgent = cmp.Or(options.UserAgent, "nested")
	options.Timeout = cmp.Or(options.Timeout, 25*time.Second)
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	g := &Gateway{options: options, serves: map[string]string{}, metrics: options.Metrics}
	for _, r := range options.Registries {
		g.serves[InPath(r)] = r
	}
	g.clients = registry.New(registry.Options{
		Credentials: g.credentials(),
		HostsDir:    options.HostsDir,
		CheckHosts:  options.CheckHosts,
		Realms:      options.Realms,
		Connections: ownConnections,
		Passing:     true,
		UserAgent:   options.UserAgent,
		Metrics:     &options.Metrics.Registries,
	})
	g.finder = find.New(g.clients, find.Options{
		Locations:      options.Locations,
		Keys:           options.Keys,
		Limits:         options.Limits,
		PerCaller:      options.Mode == Pod,
		Timeout:        options.Timeout,
		SearchRequests: options.SearchRequests,
		Prefetch:       options.Prefetch,
		Memory:         options.Memory,
		Asked:          g.metrics.asked,
		Hopped:         g.metrics.hopped,
	})
	return g
}

// MemoryBeside is what a gateway's process takes besides its [transport.Memory], in
// bytes: its own, buffers of connections, and what is bounded by number and
// small (rights, carriers, names of what is read ahead).
const MemoryBeside = 64 << 20

// ownConnections bounds those to one host for what is read ahead. All clients of
// a node share them, so they are more than one client has. What clients ask for
// themselves they bound by asking: a bound for all would be one that a
// registry's silence to some takes from the others.
const ownConnections = 24

// Check reads the hosts.toml of each registry. Requests for one that cannot be
// read fail with the same error.
func (g *Gateway) Check() error {
	return checkHosts(g.clients, maps.Values(g.serves))
}

// checkHosts reads the hosts.toml of registries.
func checkHosts(clients *registry.Client, registries iter.Seq[string]) error {
	var all error
	for r := range registries {
		repository, err := auth.ParseRepository(r + "/x")
		if err == nil {
			_, err = clients.Hosts(repository)
		}
		all = errors.Join(all, err)
	}
	return all
}

// Close fetches nothing ahead any more, gives up what is kept for clients, and
// closes the connections to registries that nobody uses. What is being answered
// goes on.
func (g *Gateway) Close() { g.finder.Close() }

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, resp := g.answer(r)
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	if q.Query().Has("ns") && q.Repository() != (auth.Repository{}) { // its ns was minded: the distribution spec's section "Registry Proxying"
		w.Header().Set("OCI-Namespace", q.Repository().Host())
	}
	w.WriteHeader(resp.StatusCode)
	n, err := io.Copy(&paced{w, http.NewResponseController(w)}, resp.Body)
	g.metrics.request("gateway", q.Kind(), resp.StatusCode, n)
	if err != nil {
		panic(http.ErrAbortHandler) // a body that ends early must not look complete
	}
}

// stallTimeout ends a transfer to a client that takes nothing; containerd then
// asks for the rest. A registry that sends nothing is package auth's to end.
const stallTimeout = time.Minute

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

// answer answers a request. Its body is for the caller to close.
func (g *Gateway) answer(r *http.Request) (find.Request, *http.Response) {
	q, err := g.parse(r)
	if err == nil {
		return q, g.finder.Answer(r.Context(), q)
	}
	return q, g.finder.Refuse(r.Context(), q, err)
}
