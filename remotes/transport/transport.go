package transport

import (
	"net/http"
	"time"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Options are the settings of a [Transport].
type Options = find.Options

// Transport is an [http.RoundTripper] that follows child namespaces for a
// client of the distribution API. It may be used by any number of goroutines.
type Transport struct {
	base       http.RoundTripper
	tls, plain *find.Finder             // for registries of https, and of http
	own        *locations.Cache         // nil: it was given
	before     *registry.Client         // nil: it is for one client
	supporting flight.Map[string, bool] // what registries say of themselves, by host
	pushed     flight.Map[pusher, bool]
}

// New returns a transport over another one, for one client. Members are asked as
// the options of registries say, with the scheme of the client's request, so that
// the client sees what their credentials may read. Without Options.Locations they
// are remembered in memory, in 64 MiB at most.
func New(base http.RoundTripper, registries registry.Options, options Options) (*Transport, error) {
	t := &Transport{base: base}
	if options.Locations == nil {
		var err error
		if t.own, err = locations.OpenInMemory(locations.Options{}); err != nil {
			return nil, err
		}
		options.Locations = t.own
	}
	if options.Memory == nil {
		options.Memory = find.NewMemory(find.DefaultMemory)
	}
	t.tls = find.New(registry.New(registries), options)
	registries.PlainHTTP = true
	t.plain = find.New(registry.New(registries), options)
	return t, nil
}

// Before returns a transport for many clients, as a front before registries has
// it. Requests are on behalf of the callers of their contexts ([callers.With]).
// Content is asked for with a client of registries, whose credentials are
// [callers.Source], from the repository of a request as from members; base has to
// ask with the caller's credential for everything else. Options.PerCaller and
// Options.Locations are required.
func Before(base http.RoundTripper, registries *registry.Client, options Options) *Transport {
	f := find.New(registries, options)
	return &Transport{base: base, tls: f, plain: f, before: registries}
}

// finder is the one for a request.
func (t *Transport) finder(r *http.Request) *find.Finder {
	if r.URL.Scheme == "http" {
		return t.plain
	}
	return t.tls
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	q, ok := read(r)
	if e, _ := apipath.Parse(r.URL.Path); e.Word == apipath.Uploads && r.Method == http.MethodPost {
		t.pushed.Put(pusher{callers.Of(r.Context()), r.URL.Host + "/" + e.Name}, true, pushTime)
	}
	if !ok {
		return t.base.RoundTrip(r)
	}
	return t.Answer(r, q)
}

// Answer is RoundTrip for a request about content that was read already.
func (t *Transport) Answer(r *http.Request, q find.Request) (*http.Response, error) {
	switch {
	case q.Kind() == find.Tags && t.before == nil:
	case r.Method == http.MethodGet, q.IsHead():
		return t.get(r, q)
	case r.Method == http.MethodPut && q.Kind() == find.Manifests:
		return t.put(r, q)
	case r.Method == http.MethodDelete && q.Kind() == find.Manifests:
		return t.delete(r, q)
	}
	return t.base.RoundTrip(r)
}

// read reads a request about content of a repository. What is wrong with others
// is for the registry to say.
func read(r *http.Request) (find.Request, bool) {
	q, err := find.Read(r)
	if err != nil {
		return q, false
	}
	repository, err := auth.ParseRepository(r.URL.Host + "/" + q.Name())
	return q.Of(repository, callers.Of(r.Context())), err == nil
}

// pushTime is for how long a client is taken to push where it has begun an upload.
const pushTime = 10 * time.Minute

// pusher is a client that pushes, and where, as host and name: what others push
// there changes nothing for it.
type pusher struct {
	caller callers.Caller
	to     string
}

// get answers a request for content. One that only asks whether content is there,
// as clients do before they push it, is not searched for.
func (t *Transport) get(r *http.Request, q find.Request) (*http.Response, error) {
	if q.IsHead() {
		_, pushes := t.pushed.Get(pusher{callers.Of(r.Context()), q.Repository().String()})
		if pushes || q.Kind() == find.Blobs {
			q = q.Unsearched()
		}
	}
	if t.before != nil {
		return answers.Complete(r, t.tls.Answer(r.Context(), q)), nil
	}
	return t.finder(r).Pass(find.NewOrigin(r, q, t.base))
}

// origin is that of a request.
func (t *Transport) origin(r *http.Request, q find.Request) *find.Origin {
	o := find.NewOrigin(r, q, t.base)
	if t.before != nil {
		return o.ForWrites()
	}
	return o
}

// Refuse is the answer that an error is to a request.
func (t *Transport) Refuse(r *http.Request, err error) *http.Response {
	q, _ := read(r)
	return answers.Complete(r, t.finder(r).Refuse(r.Context(), q, err))
}

// CloseIdleConnections closes the connections that nobody uses.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	t.tls.CloseIdleConnections()
	t.plain.CloseIdleConnections()
}

// Close ends what goes on besides the requests. Afterwards nothing is known of
// members.
func (t *Transport) Close() error {
	t.tls.Close()
	t.plain.Close()
	if t.own == nil {
		return nil
	}
	return t.own.Close()
}
