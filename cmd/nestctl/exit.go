package main

import (
	"errors"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/intercept"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// The exit statuses, as docs/guides/pull.md documents them: scripts depend on them.
const (
	failure  = 1
	misuse   = 2
	denied   = 3
	notFound = 4
	invalid  = 5
)

// exitStatus returns the exit status for an error. The order matters: an
// invalid index may wrap a denial, and a denial may hide whether something
// exists.
func exitStatus(err error) int {
	var usage usage.Error
	var bad *nested.InvalidError
	var malformed layout.MalformedError
	var broken *lock.InvalidError
	var ended *intercept.ExitError
	switch {
	case errors.As(err, &ended):
		return ended.Status
	case errors.As(err, &usage):
		return misuse
	case errors.As(err, &bad), errors.As(err, &malformed), errors.As(err, &broken), errors.Is(err, locations.ErrDamaged):
		return invalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		return denied
	case errdefs.IsNotFound(err):
		return notFound
	}
	return failure
}
