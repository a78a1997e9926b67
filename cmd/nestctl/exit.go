package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"

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
	switch {
	case errors.As(err, &usage):
		return misuse
	case errors.As(err, &bad), errors.Is(err, gateway.ErrDamaged):
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

// redacted is a writer that redacts the lines of a log.
type redacted struct{ io.Writer }

func (w redacted) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, redact(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printable escapes what must not reach a terminal: control characters, and
// characters that change how others are shown.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
