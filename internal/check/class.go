package check

import (
	"errors"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
)

// class is the class of an error, in the order in which they should be fixed.
type class int

const (
	denied class = iota
	notFound
	invalid
	failed
)

// classOf returns the class of an error: denied access and absence by their
// classes of errdefs, and [nested.InvalidError].
func classOf(err error) class {
	var bad *nested.InvalidError
	var locked *lock.InvalidError
	switch {
	case errors.As(err, &bad), errors.As(err, &locked):
		return invalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		return denied
	case errdefs.IsNotFound(err):
		return notFound
	}
	return failed
}

// String is the class in a report.
func (c class) String() string {
	return [...]string{"denied", "not found", "invalid", "failed"}[c]
}

// nextStep is what to do about an error that does not say so itself.
func nextStep(err error) string {
	var other *nested.VerifyError
	switch {
	case errors.As(err, &other):
		return "push it again"
	case classOf(err) == notFound:
		return "push it there, or make a new index without it"
	case classOf(err) == invalid:
		return "make it again with nestctl index create"
	}
	return ""
}
