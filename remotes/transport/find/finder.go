package find

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Options are the settings of a [Finder], which requires Locations, or of a
// [Transport].
type Options struct {
	Locations *locations.Cache
	Keys      nested.Keys
	Limits    nested.Limits

	// PerCaller says that registries are asked with what each caller shows
	// ([callers.Source]): callers then know nothing of each other. Otherwise all are
	// one.
	PerCaller bool
	// Apart says that callers keep what they get on machines of their own: what
	// this finder knows is read ahead for each of them nevertheless.
	Apart bool
	// Complete says that clients take the answers for those of a registry that
	// has all of the API: referrers come from their tag where there is no API
	// for them, and a registry's 429 is handed on.
	Complete bool
	// Follow says that what registries redirect to is fetched for the client,
	// and redirects are not handed on.
	Follow bool
	// Timeout bounds the time until an answer begins; 10 minutes, since clients
	// have limits of their own.
	Timeout time.Duration
	// SearchRequests bounds the requests of a search; 0: nothing is searched for.
	SearchRequests int
	// Prefetch is how many answers may be there, or on their way, before the
	// client of a nested index asks for them; 0: none.
	Prefetch int
	// Memory is what requests may take; a budget of [DefaultMemory].
	Memory *Memory
	// Asked is called with each request to a registry, and Hopped with each
	// answer that came from another repository than was asked for, when given: with
	// a context of the request that is answered, and before it is.
	Asked  func(Kind)
	Hopped func(ctx context.Context, from auth.Repository)
}

// Finder finds the content that is asked for in a repository, wherever it is. It
// may be used by any number of goroutines.
type Finder struct {
	options   Options
	rule      nested.Rule
	upstream  *upstream
	locations *locations.Cache
	memory    *Memory
	held      held
	carriers  carriers
	plain     flight.Map[step, bool] // names nothing elsewhere, as was seen a moment ago
	rights    rights
	searches  searches
	readAhead readAhead
}

// New returns what finds content with a client of registries.
func New(registries *registry.Client, options Options) *Finder {
	options.Timeout = cmp.Or(options.Timeout, 10*time.Minute)
	if options.Memory == nil {
		options.Memory = NewMemory(DefaultMemory)
	}
	if options.Asked == nil {
		options.Asked = func(Kind) {}
	}
	if options.Hopped == nil {
		options.Hopped = func(context.Context, auth.Repository) {}
	}
	f := &Finder{
		options:   options,
		rule:      nested.NewRule(options.Keys, options.Limits),
		upstream:  &upstream{registries: registries, asked: options.Asked},
		locations: options.Locations,
		memory:    options.Memory,
	}
	f.searches.memory = f.memory.walked
	f.readAhead = readAhead{load: f.load, limit: options.Prefetch, timeout: options.Timeout / 3, maxAge: readAheadTime, pulls: map[tenant]*pull{}}
	if options.PerCaller {
		f.readAhead.maxAge = rightsTime
	}
	return f
}

// Close fetches nothing ahead any more, gives up what is kept for clients, and
// closes the connections to registries that nobody uses. What is being answered
// goes on.
func (f *Finder) Close() {
	f.readAhead.close()
	f.held.close()
	f.searches.close()
	f.CloseIdleConnections()
}

// CloseIdleConnections closes the connections to registries that nobody uses.
func (f *Finder) CloseIdleConnections() { f.upstream.registries.CloseIdleConnections() }

// Answer answers a request, which ends when the body of the answer is closed.
// What failed is an answer, too.
func (f *Finder) Answer(ctx context.Context, q Request) *http.Response {
	ctx = auth.Paced(callers.With(ctx, q.caller))
	ctx, end := withBudget(ctx, q.tenant(), f.options.Timeout)
	resp, err := f.find(ctx, q)
	if err != nil {
		resp = f.Refuse(ctx, q, err)
	}
	return finish(ctx, q, resp, end)
}

// finish makes the request end with the body of its answer.
func finish(ctx context.Context, q Request, resp *http.Response, end func()) *http.Response {
	budgetOf(ctx).begun()
	if q.head {
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	resp.Body = &body{resp.Body, end}
	return resp
}

// find finds what a request asks for.
func (f *Finder) find(ctx context.Context, q Request) (*http.Response, error) {
	if c := f.readAhead.claim(ctx, q); c != nil {
		f.hop(ctx, q, c.served)
		return c.answer(), nil
	}
	switch q.kind {
	case Manifests:
		return f.findManifest(ctx, q)
	case Blobs:
		return f.findBlob(ctx, q)
	case Referrers:
		return f.findReferrers(ctx, q)
	case Tags:
		return f.findTags(ctx, q)
	}
	return answers.JSON(http.StatusOK, struct{}{}), nil
}

// Rule is the rule by which indexes are followed.
func (f *Finder) Rule() nested.Rule { return f.rule }

// Learn remembers what a manifest or index of a repository points to.
func (f *Finder) Learn(ctx context.Context, in auth.Repository, at nested.Place, found []nested.Place) error {
	return f.locations.LearnManifest(ctx, in, at, in, found)
}

// hop counts an answer that came from another repository than was asked for.
func (f *Finder) hop(ctx context.Context, q Request, served auth.Repository) {
	if served != (auth.Repository{}) && served != q.repository {
		f.options.Hopped(ctx, served)
	}
}
