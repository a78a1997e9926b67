package gateway

import (
	"fmt"
	"net/http"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// parse reads a request, if it may be made. Errors are of type
// [find.Failure].
func (g *Gateway) parse(r *http.Request) (find.Request, error) {
	if err := guard(r); err != nil {
		return find.Request{}, err
	}
	q, err := find.Read(r)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return q, &find.Failure{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the gateway only pulls"}
	case r.URL.Host != "":
		return q, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: "the path is not one of the distribution spec"}
	case err != nil || q.Kind() == find.Base:
		return q.Of(auth.Repository{}, g.caller(r)), err
	}
	repository, err := g.served(q.Query()["ns"], q.Name())
	return q.Of(repository, g.caller(r)), err
}

// served returns the repository on the registry that ns names, if the gateway
// serves it.
func (g *Gateway) served(ns []string, name string) (auth.Repository, error) {
	if len(ns) != 1 {
		return auth.Repository{}, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: "the query has to name the registry once, as ns; containerd does so for a host of hosts.toml"}
	}
	if !g.serves[ns[0]] {
		return auth.Repository{}, &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: fmt.Sprintf("registry %.80q is not among the gateway's registries", ns[0])}
	}
	repository, err := auth.ParseRepository(ns[0] + "/" + name)
	if err != nil {
		return auth.Repository{}, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	if !allows(g.options.Allow, repository) {
		return auth.Repository{}, &find.Failure{Status: http.StatusForbidden, Code: "DENIED", Message: fmt.Sprintf("repository %s is not allowed; see allow in the gateway's configuration", repository)}
	}
	return repository, nil
}
