// Package usage has the error of who calls something with what it does not
// take: a flag, an argument, an option.
package usage

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// Error says what is wrong with a flag, an argument or an option. Its class is
// errdefs.ErrInvalidArgument.
type Error struct{ Err error }

func (e Error) Error() string { return e.Err.Error() }

// Unwrap gives the error its class and its cause.
func (e Error) Unwrap() []error { return []error{e.Err, errdefs.ErrInvalidArgument} }

// Errorf is an Error with a text and causes as those of fmt.Errorf.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }
