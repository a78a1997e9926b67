// Package auth finds the credential for one repository in the Docker
// credential stores and turns it into a token for that repository.
//
// It promises three things. A credential is looked up for a repository, never
// for a host alone, and is used for no other repository. It goes to the
// registry that it was looked up for and to the token endpoint which that
// registry names, and nowhere else. And "there is none" is an answer while
// "could not find out" is an error: nothing that fails becomes an anonymous
// request.
//
// A reader meets: [Repository], the unit of everything; [Source], which finds
// a [Credential], and its implementation [Stores] over Docker configuration
// files and credential helpers; [Registry], which knows one registry's
// challenge, tokens and HTTP policy; [Authorizer], which signs the requests
// for one repository and fits containerd's docker.Authorizer.
//
// Everything here may be used by any number of goroutines at once.
package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
)

// Source finds the credential for a repository.
type Source interface {
	// Lookup returns the credential for a repository. When there is none it
	// returns an anonymous one whose Source says where was looked; an error
	// means that it could not be found out.
	Lookup(ctx context.Context, repository Repository) (Credential, error)
}

// Forgetter is a [Source] that keeps answers. Forget drops what it keeps of a
// credential that a registry or a token endpoint has refused.
type Forgetter interface {
	Forget(Credential)
}

// Sources asks several sources in order; the first that has a credential
// wins, the first that fails ends the search.
type Sources []Source

// Lookup implements [Source].
func (s Sources) Lookup(ctx context.Context, repository Repository) (Credential, error) {
	credential := Credential{Source: "none: no credential store"}
	for _, source := range s {
		var err error
		if credential, err = source.Lookup(ctx, repository); err != nil || !credential.Anonymous() {
			return credential, err
		}
	}
	return credential, nil
}

// Forget implements [Forgetter].
func (s Sources) Forget(credential Credential) {
	for _, source := range s {
		if f, ok := source.(Forgetter); ok {
			f.Forget(credential)
		}
	}
}

// Credential is what a store holds for a repository: a user with a password,
// an identity token (an OAuth refresh token, for the token endpoint), or a
// registry token (a bearer token, for the registry as it is).
type Credential struct {
	Username      string
	Password      Secret
	IdentityToken Secret
	RegistryToken Secret

	// Source says where the credential came from, for people: file and key,
	// or helper and server. For an anonymous one, where was looked.
	Source string
}

// UserCredential returns the credential of a user and a secret as Docker's
// stores and clients write it: the user <token> marks an identity token.
func UserCredential(username, secret, source string) Credential {
	if username == "<token>" {
		return Credential{IdentityToken: Secret(secret), Source: source}
	}
	return Credential{Username: username, Password: Secret(secret), Source: source}
}

// Anonymous tells that there is nothing to show to a registry.
func (c Credential) Anonymous() bool {
	return c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Secret is a string that does not print: fmt and encoding/json show
// "[secret]" in its place.
type Secret string

// Format implements [fmt.Formatter].
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.redacted()) }

// MarshalJSON implements [json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.redacted()) }

func (s Secret) redacted() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// Metrics counts what the package does that costs time. The zero value is
// ready for use.
type Metrics struct {
	Tokens     atomic.Int64 // requests to token endpoints
	Challenges atomic.Int64 // requests that a registry answered with a challenge
	HelperRuns atomic.Int64 // runs of credential helpers
	// HelperNanoseconds is the time that those took.
	HelperNanoseconds atomic.Int64
}
