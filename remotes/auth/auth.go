// Package auth finds the credential for one repository in the Docker credential
// stores, and exchanges it for a token for that repository.
//
// It makes three promises. A credential is looked up for a repository, never
// for a host alone, and is used for no other repository. It is sent to the
// registry that it was looked up for and to the token endpoint that this
// registry names, and nowhere else. And "there is none" is an answer while
// "could not find out" is an error: no failure becomes an anonymous request.
//
// Read the files in this order:
//
//   - repository.go and reference.go: [Repository], the unit of everything
//     here, and [Reference];
//   - auth.go: [Source] finds a [Credential]; stores.go, config.go and
//     helper.go implement it over Docker's configuration files and credential
//     helpers ([Stores]), kubelet.go over the kubelet's plugins
//     ([KubeletProviders]; kubeletprotocol.go is their protocol, for both
//     sides);
//   - registry.go: [Registry] is one registry: its challenge (challenge.go),
//     its tokens (token.go, scope.go, realm.go) and its HTTP policy
//     (transport.go, dial.go, pools.go, query.go, stall.go);
//   - authorizer.go: [Authorizer] signs the requests for one repository and
//     fits containerd's docker.Authorizer;
//   - redirected.go and foreign.go: hosts that the registry redirects to, and
//     hosts that manifests name;
//   - error.go: what callers get when it fails.
//
// Package registry, the next one up, makes a client of these. Everything here
// may be used by any number of goroutines at once.
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
	// returns an anonymous one whose Source says where it looked; an error
	// means that it could not find out.
	Lookup(ctx context.Context, repository Repository) (Credential, error)
}

// Forgetter is a [Source] that keeps answers. Forget drops what it keeps of a
// credential that a registry or a token endpoint has refused.
type Forgetter interface {
	Forget(Credential)
}

// Sources tries several sources in order. The first that has a credential wins;
// the first that fails ends the search.
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

	// Source says where the credential came from, for people: file and key, or
	// helper and server. For an anonymous credential it says where Lookup
	// looked.
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

// Anonymous reports whether there is nothing to show to a registry.
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

// Metrics counts the operations of the package that take time. The zero value
// is ready for use.
type Metrics struct {
	Tokens     atomic.Int64 // requests to token endpoints
	Challenges atomic.Int64 // requests that a registry answered with a challenge
	HelperRuns atomic.Int64 // runs of credential helpers
	// HelperNanoseconds is the total time of those runs.
	HelperNanoseconds atomic.Int64
}
