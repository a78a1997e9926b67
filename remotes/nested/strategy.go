package nested

import (
	"context"

	"github.com/nestedoci/nested/remotes/auth"
)

// KeepsReferences asks a resolver's registry whether a nested index may be
// pushed as it is (its method KeepsReferences). One that cannot be asked, or
// does not answer, has not said so. Errors: the context's alone.
func KeepsReferences(ctx context.Context, registries any, repository auth.Repository) (bool, error) {
	r, ok := registries.(interface {
		KeepsReferences(context.Context, auth.Repository) (bool, error)
	})
	if !ok {
		return false, nil
	}
	keeps, err := r.KeepsReferences(ctx, repository)
	if err != nil {
		return false, ctx.Err() // a carrier is safe everywhere; what pushes next says what is wrong
	}
	return keeps, nil
}

// Strategy is how a registry is to take a nested index (docs/spec.md, section 8).
type Strategy string

// The strategies of a pusher. The empty one is Auto.
const (
	Auto      Strategy = "auto"      // Reference where the registry says that it keeps that, else Carrier
	Reference Strategy = "reference" // as it is
	Carrier   Strategy = "carrier"   // as a blob, with a manifest that carries it
)

// carries reports whether a nested index in a repository is to be carried.
func (s Strategy) carries(ctx context.Context, registries any, repository auth.Repository) (bool, error) {
	switch s {
	case Reference:
		return false, nil
	case Carrier:
		return true, nil
	}
	keeps, err := KeepsReferences(ctx, registries, repository)
	return !keeps, err
}
