package auth

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Authorizer signs the requests for one repository of one registry. It has
// the methods of containerd's docker.Authorizer.
type Authorizer struct {
	registry   *Registry
	repository Repository
	actions    string   // on the repository, separated by commas
	mounted    []string // scopes of repositories that are mounted from

	challenge learned // this repository's, where it differs from the registry's
}

// Format implements [fmt.Formatter]: tokens do not print.
func (a *Authorizer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authorizer for "+a.repository.String())
}

// Owns reports whether a URL is on the registry, so that requests to it are
// signed.
func (a *Authorizer) Owns(u *url.URL) bool { return a.registry.Owns(u) }

// Authorize sets the Authorization header of a request, once the registry has
// asked for one. Requests to any other origin are left alone. Errors:
// [DeniedError], [RealmError], [HelperError], and what the source returns.
func (a *Authorizer) Authorize(ctx context.Context, req *http.Request) error {
	challenge := a.current()
	if challenge == nil || !a.registry.Owns(req.URL) {
		return nil
	}
	credential, err := a.registry.source.Lookup(ctx, a.repository)
	if err != nil {
		return err
	}
	header, err := a.sign(ctx, challenge, credential)
	var denied *DeniedError
	if errors.As(err, &denied) && denied.Refused {
		// The stores may have a newer one: helpers' answers are cached.
		a.registry.forget(credential)
		renewed, lookupErr := a.registry.source.Lookup(ctx, a.repository)
		if lookupErr != nil {
			return lookupErr
		}
		if renewed != credential {
			header, err = a.sign(ctx, challenge, renewed)
		}
	}
	if err != nil {
		if !errors.As(err, &denied) || challenge.Scheme == "basic" && denied.Anonymous {
			a.unlearn(challenge) // the registry's challenge may have changed, or not apply to other repositories
		}
		return err
	}
	req.Header.Set("Authorization", header)
	return nil
}

// sign makes the header that answers a challenge.
func (a *Authorizer) sign(ctx context.Context, challenge *Challenge, credential Credential) (string, error) {
	if challenge.Scheme == "basic" {
		if credential.Password == "" {
			return "", a.denied(credential, "the registry asks for user name and password")
		}
		pair := credential.Username + ":" + string(credential.Password)
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)), nil
	}
	if credential.RegistryToken != "" {
		return "Bearer " + string(credential.RegistryToken), nil
	}
	if err := a.registry.checkRealm(challenge.Realm); err != nil {
		return "", err
	}
	token, err := a.registry.tokens.get(ctx, tokenKey{challenge.Realm, challenge.Service, a.repository, a.scopeFor(challenge), credential})
	if err != nil {
		return "", err
	}
	return "Bearer " + token, nil
}

// scopeFor returns the scope to request when answering a challenge.
func (a *Authorizer) scopeFor(challenge *Challenge) string {
	if challenge != nil && a.registry.options.OtherNames && strings.HasPrefix(challenge.Scope, "repository:") &&
		strings.HasSuffix(challenge.Scope, "/"+a.repository.name+":pull") && !strings.Contains(challenge.Scope, " ") {
		return challenge.Scope
	}
	name := cmp.Or(a.registry.nameOf(a.repository), a.repository.name)
	if name == "" {
		return "" // of no repository: who logs in
	}
	scopes := append([]string{"repository:" + name + ":" + a.actions}, a.mounted...)
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

// AddResponses learns from a 401, the last of the responses to one request. It
// returns nil when the request is worth retrying, [DeniedError] when it is not,
// and errdefs.ErrNotImplemented for an answer of another origin.
func (a *Authorizer) AddResponses(ctx context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1]
	if !a.registry.Owns(last.Request.URL) {
		return Classed(errdefs.ErrNotImplemented, "%s answered 401; the registry redirects there, so that another login changes nothing", last.Request.URL.Host)
	}
	shown := a.shown(last)
	challenge, err := ParseChallenge(last.Header)
	switch {
	case err != nil && shown != "":
		return a.refused(ctx, Challenge{})
	case err != nil:
		return Classed(errdefs.ErrUnauthenticated, "%s: the registry answered 401, and does not say which credential it wants: %v", a.repository, err)
	}
	switch {
	case shown == "":
		a.registry.options.Metrics.Challenges.Add(1)
		a.learn(challenge)
		return nil
	case !a.answers(challenge):
		a.learn(challenge) // the request answered an older challenge
		return nil
	case challenge.Scheme == "bearer":
		a.registry.tokens.forget(strings.TrimPrefix(shown, "Bearer "))
		retried := slices.ContainsFunc(responses[:len(responses)-1], a.isSigned)
		if !retried && (a.takeName(challenge) || challenge.Error != "insufficient_scope") {
			return nil // the token may have expired; try a new one
		}
		if len(a.mounted) == 0 {
			a.registry.names.Delete(a.repository) // the name may have changed
		}
	}
	return a.refused(ctx, challenge)
}

// shown returns the credential that Authorize has set in the request of a
// response. A header of the same name from the configuration does not count.
func (a *Authorizer) shown(r *http.Response) string {
	shown := r.Request.Header.Get("Authorization")
	if shown == a.registry.options.Header.Get("Authorization") {
		return ""
	}
	return shown
}

func (a *Authorizer) isSigned(r *http.Response) bool { return a.shown(r) != "" }

// answers reports whether a challenge is the one that Authorize answers.
func (a *Authorizer) answers(c Challenge) bool {
	used := a.current()
	return used != nil && used.Scheme == c.Scheme && used.Realm == c.Realm && used.Service == c.Service &&
		a.scopeFor(used) == a.scopeFor(&c)
}

// refused is the error for a registry that answers 401 to the credential that
// it asked for.
func (a *Authorizer) refused(ctx context.Context, challenge Challenge) error {
	answer := "the registry answered 401"
	if challenge.Error != "" {
		answer += fmt.Sprintf(" %.64q", challenge.Error)
	}
	credential, err := a.registry.source.Lookup(ctx, a.repository)
	if err != nil {
		return err
	}
	denied := a.denied(credential, answer)
	if challenge.Scheme == "basic" {
		a.registry.forget(credential)
		denied.Refused = !denied.Anonymous
	}
	return denied
}

// Denied returns the [DeniedError] for an answer of the registry that refuses a
// request with this repository's credential, a 403 for example.
func (a *Authorizer) Denied(ctx context.Context, answer string) error {
	credential, err := a.registry.source.Lookup(ctx, a.repository)
	if err != nil {
		return err
	}
	return a.denied(credential, answer)
}

func (a *Authorizer) denied(credential Credential, answer string) *DeniedError {
	return &DeniedError{
		Repository: a.repository,
		Credential: credential.Source,
		Scope:      a.scopeFor(a.current()),
		Answer:     answer,
		Anonymous:  credential.Anonymous(),
	}
}

// current returns this repository's challenge, or else the registry's; nil as
// long as there is neither.
func (a *Authorizer) current() *Challenge {
	return cmp.Or(a.challenge.get(), a.registry.challenge.get())
}

// unlearn drops a challenge that could not be answered.
func (a *Authorizer) unlearn(c *Challenge) {
	a.registry.challenge.drop(c)
	a.challenge.drop(c)
}

// learn keeps a challenge for this repository, and for all as long as none is
// known, unless each has its own.
func (a *Authorizer) learn(c Challenge) {
	if a.registry.challenge.get() == nil && !a.registry.options.OtherNames {
		a.registry.challenge.put(c)
	}
	a.challenge.put(c)
}
