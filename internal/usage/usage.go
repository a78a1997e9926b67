// Package usage has the errors that are about how something was called: with
// what it does not take ([Error]), or with options of which others would have
// avoided the error ([Avoidable]).
//
// A room says the cause, and calls its options by their own names. Whoever offers
// them, as flags, adds what they are called there.
package usage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
)

// Error says what is wrong with a flag, an argument or an option. Its class is
// errdefs.ErrInvalidArgument.
type Error struct {
	Option string // that it is about, in front of Err; empty where Err says all
	Err    error
}

func (e Error) Error() string { return e.Option + e.Err.Error() }

// Unwrap gives the error its class and its cause.
func (e Error) Unwrap() []error { return []error{e.Err, errdefs.ErrInvalidArgument} }

// Errorf is an Error with a text and causes as those of fmt.Errorf.
func Errorf(format string, args ...any) error { return Error{Err: fmt.Errorf(format, args...)} }

// Optionf is an Error about an option, with what is said behind its name.
func Optionf(option, format string, args ...any) error {
	return Error{Option: option, Err: fmt.Errorf(format, args...)}
}

// Avoidable is an error that another choice would have avoided. Its text is the
// cause alone.
type Avoidable struct {
	Err error
	By  Choice
}

// Choice is an option or a function of a room, by its name there.
type Choice string

func (e *Avoidable) Error() string { return e.Err.Error() }

func (e *Avoidable) Unwrap() error { return e.Err }

// Choices are what would have avoided an error and its causes, innermost first,
// because that is the one to change first.
func Choices(err error) []Choice {
	var found []Choice
	for avoidable := new(Avoidable); errors.As(err, &avoidable); err = avoidable.Err {
		found = append(found, avoidable.By)
	}
	slices.Reverse(found)
	return found
}
