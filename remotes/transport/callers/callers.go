// Package callers says on whose behalf a registry is asked.
package callers

import (
	"context"

	"github.com/nestedoci/nested/remotes/auth"
)

// Caller is whose credentials are used; the zero value nobody's in particular.
type Caller struct{ Username, Password string }

// key is the key of the caller in a context.
type key struct{}

// With returns a context for requests on behalf of a caller.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// Of is on whose behalf a context is.
func Of(ctx context.Context) Caller {
	c, _ := ctx.Value(key{}).(Caller)
	return c
}

// Source is the [auth.Source] of a client that asks for many: the credential of
// the caller on whose behalf the context is. Whatever the repository, it is the
// only one that there is. It may be used by any number of goroutines.
type Source struct{}

// Lookup implements [auth.Source].
func (Source) Lookup(ctx context.Context, _ auth.Repository) (auth.Credential, error) {
	c := Of(ctx)
	if auth.IsRedirected(ctx) {
		return auth.Credential{Source: "none: the caller's is for the registry that redirects there"}, nil
	}
	if c == (Caller{}) {
		return auth.Credential{Source: "none: the caller showed none"}, nil
	}
	return auth.UserCredential(c.Username, c.Password, "the caller's"), nil
}
