package main

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/gateway"
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

// usageError is an error about the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus is the kind of an error as a number.
func exitStatus(err error) int {
	var usage usageError
	var bad *nested.InvalidError
	var layout malformedError
	switch {
	case errors.As(err, &usage):
		return misuse
	case errors.As(err, &bad), errors.As(err, &layout), errors.Is(err, gateway.ErrDamaged):
		return invalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		return denied
	case errdefs.IsNotFound(err):
		return notFound
	}
	return failure
}

// signed are the parts of URLs in which secrets travel: users and queries.
var signed = regexp.MustCompile(`(https?://)(?:[^\s/"@]*@)?([^\s"?]*)(\?[^\s"]*)?`)

// redact takes users and queries out of the URLs in a text.
func redact(s string) string { return signed.ReplaceAllString(s, "$1$2") }
