package nested

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// InvalidError says what is wrong with a nested index, or with what was reached
// through one (docs/spec.md, sections 2 to 5). Its class is
// errdefs.ErrInvalidArgument.
type InvalidError struct {
	Digest   digest.Digest   // of the manifest or index
	In       auth.Repository // where it was found
	Position int             // in manifests[]; -1 when it is about all of it
	Err      error
}

func (e *InvalidError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "invalid manifest or index %s@%s", e.In, oci.Short(e.Digest))
	if e.Position >= 0 {
		fmt.Fprintf(&b, ", manifests[%d]", e.Position)
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap gives the error its class and its cause.
func (e *InvalidError) Unwrap() []error { return []error{errdefs.ErrInvalidArgument, e.Err} }

// VerifyError says that a repository served other content than was asked for.
// Its class is errdefs.ErrDataLoss.
type VerifyError struct {
	Repository auth.Repository
	Digest     digest.Digest
	Reason     string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("content of %s does not verify as %s: %s", e.Repository, e.Digest, e.Reason)
}

// Unwrap gives the error its class.
func (e *VerifyError) Unwrap() error { return errdefs.ErrDataLoss }

// Error says that content of a child repository could not be fetched. Its
// class is that of Err: errdefs.ErrPermissionDenied or ErrUnauthenticated
// when any repository denied it, errdefs.ErrNotFound when none has it.
type Error struct {
	Parent   auth.Repository // the repository of the root
	Target   auth.Repository // the repository that was asked first
	Digest   digest.Digest
	Err      error
	Attempts []Attempt // every repository that was asked, in order
}

// Attempt is what one repository answered.
type Attempt struct {
	Repository auth.Repository
	Err        error
}

func (e *Error) Error() string {
	message := fmt.Sprintf("child %s@%s: %v", e.Target, oci.Short(e.Digest), e.Err)
	if len(e.Attempts) < 2 {
		return message
	}
	answers := make([]string, len(e.Attempts))
	for i, a := range e.Attempts {
		answers[i] = fmt.Sprintf("%s: %s", a.Repository, answerOf(a.Err))
	}
	return message + " (asked " + strings.Join(answers, "; ") + ")"
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// answerOf is an error in two words.
func answerOf(err error) string {
	switch {
	case errdefs.IsNotFound(err):
		return "not found"
	case isDenied(err):
		return "denied"
	}
	return err.Error()
}

// isDenied reports whether a repository answered that the puller may not read
// it, so that another one may still be asked. A credential that was refused
// as such is not that answer; it ends the pull.
func isDenied(err error) bool {
	var denied *auth.DeniedError
	if errors.As(err, &denied) {
		return !denied.Refused
	}
	var answered retry.Answered
	if errors.As(err, &answered) {
		return false // of another host: the registry's own are denials by now
	}
	status := dockerStatus(err)
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// isBusy reports whether a registry wants to be asked less: that is about the
// client, and not about the repository.
func isBusy(err error) bool {
	var busy interface{ Busy() bool }
	var answered retry.Answered
	status := dockerStatus(err)
	if errors.As(err, &answered) {
		status, _ = answered.Answer()
	}
	return status == http.StatusTooManyRequests || errors.As(err, &busy) && busy.Busy()
}

// dockerStatus is the status of an answer in an error of containerd's docker
// resolver: of ErrUnexpectedStatus, which is known by its field, or of
// ErrInvalidAuthorization, known by its text; 0 when there is none. To name the
// two costs an importer eighty packages.
func dockerStatus(err error) int {
	if err == nil {
		return 0
	}
	if err.Error() == "authorization failed" {
		return http.StatusUnauthorized
	}
	if v := reflect.ValueOf(err); v.Kind() == reflect.Struct {
		if status, ok := v.Type().FieldByName("StatusCode"); ok && status.Type.Kind() == reflect.Int {
			return int(v.FieldByIndex(status.Index).Int())
		}
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() error }:
		return dockerStatus(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if status := dockerStatus(one); status != 0 {
				return status
			}
		}
	}
	return 0
}
