package transport

import (
	"context"

	"github.com/nestedoci/nested/remotes/auth"
)

// Caller is whose credentials are used; the zero value nobody's in particular.
type Caller struct{ Username, Password string }

// callerKey is the key of the caller in a context.
type callerKey struct{}

// Callers is the [auth.Source] for [Options].PerCaller: the credential of the
// caller on whose behalf the context is. Whatever the repository, it is the only
// one that there is.
type Callers struct{}

// Lookup implements [auth.Source].
func (Callers) Lookup(ctx context.Context, _ auth.Repository) (auth.Credential, error) {
	c, _ := ctx.Value(callerKey{}).(Caller)
	if auth.IsRedirected(ctx) {
		return auth.Credential{Source: "none: the caller's is for the registry that redirects there"}, nil
	}
	if c == (Caller{}) {
		return auth.Credential{Source: "none: the caller showed none"}, nil
	}
	return auth.UserCredential(c.Username, c.Password, "the caller's"), nil
}
