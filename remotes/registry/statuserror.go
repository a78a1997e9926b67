package registry

import (
	"fmt"
	"net/http"
	"time"
)

// StatusError is an answer of a registry that is neither content nor a 404 nor a
// denial.
type StatusError struct {
	Host       string
	Code       int
	Message    string // the registry's own, if it gave one
	RetryAfter time.Duration
	Elsewhere  bool // it came from a host to which the registry redirects
}

// Answer implements [retry.Answered].
func (e *StatusError) Answer() (int, time.Duration) { return e.Code, e.RetryAfter }

// Error says who answered what, and what to do about it.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("registry %s answered %d %s", e.Host, e.Code, http.StatusText(e.Code))
	if e.Elsewhere {
		text = fmt.Sprintf("%s answered %d %s", e.Host, e.Code, http.StatusText(e.Code))
	}
	if e.Message != "" {
		text += fmt.Sprintf(" %.200q", e.Message)
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf("; it asks to wait for %s", e.RetryAfter)
	}
	if e.Elsewhere {
		text += "; the registry redirects there, so that another login changes nothing: try again, or ask who runs the registry"
	}
	return text
}

// Busy reports whether the registry wants to be asked less.
func (e *StatusError) Busy() bool { return e.Code == http.StatusTooManyRequests }
