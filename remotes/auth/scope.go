package auth

import (
	"regexp"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/flight"
)

// otherName is a registry's own name for a repository, as it may appear in the
// scopes of its tokens: printable, without separators of scopes.
var otherName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+~@-]{0,254}$`)

// named returns the name that a challenge's scope has for a repository when it
// is one scope of type repository, for an action that was requested: a registry
// names what one request needs, as pull before a push.
func named(scope, actions string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(scope, "repository:")
	if !ok {
		return "", false
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 || !otherName.MatchString(rest[:i]) {
		return "", false
	}
	requested := strings.Split(actions, ",")
	if !slices.ContainsFunc(strings.Split(rest[i+1:], ","), func(granted string) bool {
		return granted == "*" || slices.Contains(requested, granted)
	}) {
		return "", false
	}
	return rest[:i], true
}

// takeName remembers the other name that the registry has for the repository,
// from the challenge with which it refused a token. It reports whether there is
// one.
func (a *Authorizer) takeName(c Challenge) bool {
	name, ok := named(c.Scope, a.actions)
	if !ok || name == a.repository.name {
		return false
	}
	a.registry.names.Put(a.repository, name, flight.Forever)
	return true
}

// nameOf returns the other name of a repository; "" when it has none.
func (r *Registry) nameOf(repository Repository) string {
	name, _ := r.names.Get(repository)
	return name
}
