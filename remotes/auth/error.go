package auth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
)

// DeniedError says that a repository may not be read with the credential
// that the stores hold for it. Its class is errdefs.ErrPermissionDenied, or
// errdefs.ErrUnauthenticated when there was no credential or it was refused
// as such.
type DeniedError struct {
	Repository Repository
	Credential string // where it came from; see Credential.Source
	Scope      string // what was requested
	Answer     string // who said no, and how
	Anonymous  bool   // there was no credential to show
	Refused    bool   // the credential itself was refused
	NoToken    bool   // the token endpoint refused, so that the registry was not asked
}

func (e *DeniedError) Error() string {
	next := "ask for the right to pull from it"
	switch {
	case strings.Contains(e.Scope, ":pull,push"):
		next = "ask for the right to push to it"
	case strings.HasSuffix(e.Scope, ":delete"):
		next = "ask for the right to delete from it"
	}
	switch {
	case e.Anonymous:
		next = "log in: docker login " + canonicalHost(e.Repository.Host())
	case e.Refused:
		next = "renew that credential"
	}
	scope := ""
	if e.Scope != "" {
		scope = ", scope " + e.Scope
	}
	return fmt.Sprintf("%s denied: %s (credential %s%s); %s", e.Repository, e.Answer, e.Credential, scope, next)
}

// Unwrap gives the error its class.
func (e *DeniedError) Unwrap() error {
	if e.Anonymous || e.Refused {
		return errdefs.ErrUnauthenticated
	}
	return errdefs.ErrPermissionDenied
}

// RealmError says that a challenge names a token endpoint that must not get a
// credential. Its class is errdefs.ErrFailedPrecondition.
type RealmError struct {
	Registry string
	Realm    string
	Reason   string
}

func (e *RealmError) Error() string {
	return fmt.Sprintf("registry %s names the token endpoint %.128q: %s; no credential was sent", e.Registry, e.Realm, e.Reason)
}

// Unwrap gives the error its class.
func (e *RealmError) Unwrap() error { return errdefs.ErrFailedPrecondition }

// LookupError says that looking up the credential for a repository failed, so
// that it is not known whether there is one.
type LookupError struct {
	Repository Repository
	Err        error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("credential for %s: %v", e.Repository, e.Err)
}

// Unwrap returns Err.
func (e *LookupError) Unwrap() error { return e.Err }

// classedError has a class of errdefs that its text does not repeat.
type classedError struct {
	text  string
	class error
}

// Classed returns an error with a class of errdefs but without its text, such
// as "not implemented", which would mislead.
func Classed(class error, format string, args ...any) error {
	return classedError{fmt.Sprintf(format, args...), class}
}

func (e classedError) Error() string { return e.text }

// Unwrap gives the error its class.
func (e classedError) Unwrap() error { return e.class }

// WithoutURL takes the URLs, which may hold secrets, out of the error of an
// [http.Client]. The rest is a [net.Error] as before.
func WithoutURL(err error) error {
	for {
		var client *url.Error
		if !errors.As(err, &client) {
			return err
		}
		err = bareError{client.Err, client.Timeout()}
	}
}

// bareError is a client's error without its URL.
type bareError struct {
	error
	timeout bool
}

func (e bareError) Unwrap() error { return e.error }

// Timeout implements [net.Error].
func (e bareError) Timeout() bool { return e.timeout }

// Temporary implements [net.Error].
func (e bareError) Temporary() bool { return e.timeout }

// refuse returns the error for a request that is not made because it would be
// unsafe, and that must not be retried.
func refuse(format string, args ...any) error { return retry.Final(fmt.Errorf(format, args...)) }
