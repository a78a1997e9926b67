package find

import (
	"cmp"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// frontMode says whose credentials a front uses.
type frontMode int

const (
	node frontMode = iota + 1 // its own
	pod                       // its callers'
)

// frontOptions are the settings of a front.
type frontOptions struct {
	Options
	mode        frontMode
	credentials auth.Source
	hostsDir    string
	update      func(*http.Client) error // of each client, when given
}

// ownConnections bounds those of a front to one host, for what is read ahead.
const ownConnections = 24

// front is a handler before a Finder, as the gateway is one: for whatever registry ns names, and for everybody.
type front struct{ *Finder }

func newFront(o frontOptions) *front {
	o.PerCaller, o.Timeout = o.mode == pod, cmp.Or(o.Timeout, 25*time.Second)
	if o.PerCaller {
		o.credentials = callers.Source{}
	}
	return &front{New(registry.New(registry.Options{Credentials: o.credentials, HostsDir: o.hostsDir, Connections: ownConnections, Passing: true, UserAgent: "nested", UpdateClient: o.update}), o.Options)}
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp := f.answer(r)
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (f *front) answer(r *http.Request) *http.Response {
	q, err := Read(r)
	caller := callers.Caller{}
	if f.options.PerCaller {
		username, password, _ := r.BasicAuth()
		caller = callers.Caller{Username: username, Password: password}
	}
	repository := auth.Repository{}
	if err == nil && q.kind != Base {
		repository, err = auth.ParseRepository(q.query.Get("ns") + "/" + q.name)
	}
	if q = q.Of(repository, caller); err != nil {
		return f.Refuse(r.Context(), q, err)
	}
	return f.Answer(r.Context(), q)
}
