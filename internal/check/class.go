package check

import (
	"errors"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/nested"
)

// class is the class of an error, in the order in which they are to be put
// right.
type class int

const (
	denied class = iota
	notFound
	invalid
	failed
)

// classOf returns the class of an error: of the classes of errdefs those of
// denied access and of absence, and [nested.InvalidError].
func classOf(err error) class {
	var bad *nested.InvalidError
	switch {
	case errors.As(err, &bad):
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

// nextStep is what to do about an error that does not say it itself.
func nextStep(err error) string {
	var other *nested.VerifyError
	switch {
	case errors.As(err, &other):
		return "push it again"
	case classOf(err) == notFound:
		return "push it there, or make the index anew without it"
	case classOf(err) == invalid:
		return "make it anew, with nestctl index create"
	}
	return ""
}
