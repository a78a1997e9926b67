package registrytest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// token is what the registry remembers of a token that it issued.
type token struct {
	user    string
	scopes  []string
	expires time.Time
}

// allows reports whether the token grants pull on a repository, or delete for a deletion.
func (t token) allows(repository, method string) bool {
	return slices.ContainsFunc(t.scopes, func(scope string) bool {
		name, actions, ok := parseScope(scope)
		granted := strings.Split(actions, ",")
		return ok && name == repository && (slices.Contains(granted, "pull") || method == http.MethodDelete && slices.Contains(granted, "delete"))
	})
}

// parseScope takes "repository:org/app:pull" apart.
func parseScope(scope string) (repository, actions string, ok bool) {
	rest, ok := strings.CutPrefix(scope, "repository:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// ExpireTokens ends the life of all tokens issued so far.
func (r *Registry) ExpireTokens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for value, t := range r.tokens {
		t.expires = time.Time{}
		r.tokens[value] = t
	}
}

// tokenAnswer is the answer of the distribution token specification, for GET and for POST.
type tokenAnswer struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"`
	ExpiresIn   int       `json:"expires_in,omitempty"`
	IssuedAt    time.Time `json:"issued_at"`
}

func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request, q Request) error {
	if q.Method == http.MethodPost && r.config.postStatus != 0 {
		return &failure{status: r.config.postStatus, code: "UNSUPPORTED", message: "the token service takes GET only"}
	}
	asking, err := r.requester(req, q)
	if err != nil {
		return err
	}
	writeJSON(w, req, http.StatusOK, "application/json", r.issue(asking, q.Scopes))
	return nil
}

// requester returns the user that requests a token.
func (r *Registry) requester(req *http.Request, q Request) (*user, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, known := &r.rights.anybody, true
	name, password, basic := req.BasicAuth()
	switch {
	case q.Method == http.MethodPost && q.Grant == "password":
		u, known = r.rights.byPassword(q.User, q.Form.Get("password"))
	case q.Method == http.MethodPost && q.Grant == "refresh_token":
		u, known = r.rights.identities[q.Form.Get("refresh_token")]
	case q.Method != http.MethodGet:
		return nil, &failure{status: http.StatusBadRequest, code: "UNSUPPORTED", message: "unsupported grant type"}
	case basic:
		u, known = r.rights.byPassword(name, password)
	}
	if !known {
		return nil, &failure{status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: "incorrect username or password"}
	}
	return u, nil
}

// issue makes a token with those of the scopes that the user may have, perhaps
// none.
func (r *Registry) issue(u *user, scopes []string) tokenAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	granted := []string{}
	for _, scope := range scopes {
		if repository, _, ok := parseScope(scope); ok && r.rights.may(u, repository) {
			granted = append(granted, scope)
		}
	}
	value, now, lifetime := rand.Text(), time.Now().UTC(), r.config.tokenLifetime
	if lifetime == 0 {
		lifetime = time.Minute // what the specification says about a missing expires_in
	}
	r.tokens[value] = token{user: u.name, scopes: granted, expires: now.Add(lifetime)}
	return tokenAnswer{value, value, int(r.config.tokenLifetime / time.Second), now}
}
