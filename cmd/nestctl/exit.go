package main

import (
	"errors"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/gateway/locations"
	"github.com/nestedoci/nested/remotes/nested"
)

// The exit statuses.
const (
	failure  = 1
	misuse   = 2
	denied   = 3
	notFound = 4
	invalid  = 5
)

// exitStatus is the kind of an error as a number.
func exitStatus(err error) int {
	var usage usage.Error
	var bad *nested.InvalidError
	var malformed layout.MalformedError
	switch {
	case errors.As(err, &usage):
		return misuse
	case errors.As(err, &bad), errors.As(err, &malformed), errors.Is(err, locations.ErrDamaged):
		return invalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		return denied
	case errdefs.IsNotFound(err):
		return notFound
	}
	return failure
}
