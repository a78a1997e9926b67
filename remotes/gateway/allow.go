package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// Pattern matches repositories, and with each of them what is below it:
// registry/path, where the component * stands for any one component and ** for
// one or more. The zero value matches nothing; others come from
// [ParsePattern].
type Pattern struct {
	registry   string
	components []string
}

// ParsePattern reads a pattern. Its registry and the components that are not
// wildcards obey the grammar of repositories.
func ParsePattern(s string) (Pattern, error) {
	registry, name, _ := strings.Cut(s, "/")
	components := strings.Split(name, "/")
	example := make([]string, len(components))
	for i, c := range components {
		if example[i] = c; c == "*" || c == "**" {
			example[i] = "any"
		}
	}
	if _, err := auth.ParseRepository(registry + "/" + strings.Join(example, "/")); err != nil {
		return Pattern{}, fmt.Errorf("pattern %.128q: not registry/path with *, ** or names of repositories between slashes", s)
	}
	return Pattern{registry, components}, nil
}

// String returns the pattern, which [ParsePattern] reads back.
func (p Pattern) String() string { return p.registry + "/" + strings.Join(p.components, "/") }

// Match reports whether a repository, or one above it, fits the pattern.
func (p Pattern) Match(repository auth.Repository) bool {
	return p.registry == repository.Host() && matchPrefix(p.components, strings.Split(repository.Name(), "/"))
}

// allows reports whether one of the patterns, or that there are none, allows a
// repository.
func allows(patterns []Pattern, repository auth.Repository) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Match(repository) })
}

// matchPrefix reports whether the pattern's components match the first ones of
// a name.
func matchPrefix(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return true
	case len(name) == 0:
		return false
	case pattern[0] == "**":
		return matchPrefix(pattern[1:], name[1:]) || matchPrefix(pattern, name[1:])
	case pattern[0] == "*" || pattern[0] == name[0]:
		return matchPrefix(pattern[1:], name[1:])
	}
	return false
}

// credentials are those with which registries are asked.
func (g *Gateway) credentials() auth.Source {
	switch {
	case g.options.Mode == Pod:
		return callers.Source{}
	case g.options.Credentials == nil:
		return auth.Sources{}
	}
	return served{auth.Sources{g.options.Credentials}, g}
}

// served is the node's [auth.Source], which where a registry redirects has
// credentials for what is allowed only: who redirects is not to get clients
// past the list.
type served struct {
	auth.Sources
	by *Gateway
}

// Lookup implements [auth.Source].
func (s served) Lookup(ctx context.Context, r auth.Repository) (auth.Credential, error) {
	if auth.IsRedirected(ctx) && !allows(s.by.options.Allow, r) {
		return auth.Credential{Source: "none: a registry redirects there, and allow in the gateway's configuration does not name it"}, nil
	}
	return s.Sources.Lookup(ctx, r)
}
