package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
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
	case err == nil && q.Kind() == find.Base && g.options.Mode == Pod && g.caller(r) == (callers.Caller{}):
		// Those who name the registry in the path read challenges nowhere else.
		return q, &find.Failure{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "show a credential for the registry"}
	case err != nil || q.Kind() == find.Base:
		return q.Of(auth.Repository{}, g.caller(r)), err
	}
	registry, name, err := g.named(q.Query()["ns"], q.Name())
	if err != nil {
		return q.Of(auth.Repository{}, g.caller(r)), err
	}
	repository, err := g.served(registry, name)
	return q.Of(repository, g.caller(r)), err
}

// InPath is a registry as the first component of a path: no host has a _ in it.
func InPath(registry string) string { return strings.ReplaceAll(registry, ":", "_") }

// named returns the registry and the repository that a request names: with ns, as
// containerd does for a host of hosts.toml, with the registry as the first
// component of the path, or with both.
func (g *Gateway) named(ns []string, name string) (registry, repository string, err error) {
	first, rest, _ := strings.Cut(name, "/")
	at, isPath := g.serves[first]
	switch {
	case len(ns) > 1:
		return "", "", &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: "the query names the registry more than once, as ns"}
	case len(ns) == 1 && InPath(ns[0]) == first && rest != "":
		return ns[0], rest, nil
	case len(ns) == 1 && isPath && at != ns[0] && strings.Contains(first, "_"): // others may be names of projects, as docker.io is one in proxies
		return "", "", &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: fmt.Sprintf("the path names registry %s, and ns %.80q", at, ns[0])}
	case len(ns) == 1:
		return ns[0], name, nil
	case isPath && rest != "":
		return at, rest, nil
	case rest != "" && strings.ContainsAny(first, "._"):
		return "", "", g.unknown(first)
	}
	return "", "", &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: "nothing names the registry: the query does as ns, which containerd sends to a host of hosts.toml, or the first component of the path, as in registry.example.com_5000/org/app"}
}

func (g *Gateway) unknown(registry string) error {
	return &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: fmt.Sprintf("registry %.80q is not among the gateway's registries", registry)}
}

// served returns a repository that the gateway serves.
func (g *Gateway) served(registry, name string) (auth.Repository, error) {
	if at, ok := g.serves[InPath(registry)]; !ok || at != registry {
		return auth.Repository{}, g.unknown(registry)
	}
	repository, err := auth.ParseRepository(registry + "/" + name)
	if err != nil {
		return auth.Repository{}, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	if !allows(g.options.Allow, repository) {
		return auth.Repository{}, &find.Failure{Status: http.StatusForbidden, Code: "DENIED", Message: fmt.Sprintf("repository %s is not allowed; see allow in the gateway's configuration", repository)}
	}
	return repository, nil
}
