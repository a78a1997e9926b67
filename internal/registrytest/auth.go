package registrytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// identityUser is how the log and Docker's credential stores call the holder of an identity token.
const identityUser = "<token>"

// service is the name of the registry in challenges and token requests.
const service = "registrytest"

// user may pull from some repositories.
type user struct {
	name         string
	password     string
	repositories []string
}

func (u *user) may(repository string) bool {
	return slices.Contains(u.repositories, "*") || slices.Contains(u.repositories, repository)
}

// rights are who may pull what. Every user may also pull what anybody may.
type rights struct {
	users      map[string]*user
	identities map[string]*user
	anybody    user
}

// Allow makes a user known and adds repositories, by exact name or "*" for all, to what it may pull.
// A password given later replaces the earlier one.
func (r *Registry) Allow(name, password string, repositories ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.rights.users[name]
	if !ok {
		u = &user{name: name}
		r.rights.users[name] = u
	}
	u.password = password
	u.repositories = append(u.repositories, repositories...)
}

// AllowAnonymous lets everybody pull from the repositories.
func (r *Registry) AllowAnonymous(repositories ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rights.anybody.repositories = append(r.rights.anybody.repositories, repositories...)
}

// AllowIdentityToken lets the holder of an identity token get tokens for the repositories.
func (r *Registry) AllowIdentityToken(identity string, repositories ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.rights.identities[identity]
	if !ok {
		u = &user{name: identityUser}
		r.rights.identities[identity] = u
	}
	u.repositories = append(u.repositories, repositories...)
}

// byPassword finds a known user. The caller holds Registry.mu.
func (s *rights) byPassword(name, password string) (*user, bool) {
	u, ok := s.users[name]
	return u, ok && u.password == password
}

func (s *rights) may(u *user, repository string) bool {
	return u.may(repository) || s.anybody.may(repository)
}

// authorize refuses a request for content that its sender may not have.
func (r *Registry) authorize(req *http.Request, q Request) error {
	switch r.config.auth {
	case tokenAuth:
		return r.authorizeToken(q)
	case basicAuth:
		return r.authorizeBasic(req, q)
	}
	return nil
}

func (r *Registry) authorizeToken(q Request) error {
	if !q.bearer() {
		return r.challenge(q, "")
	}
	found, ok := r.token(q)
	if !ok || !time.Now().Before(found.expires) {
		return r.challenge(q, "invalid_token")
	}
	if q.Repository != "" && !found.allows(q.Repository, q.Method) {
		return r.challenge(q, "insufficient_scope")
	}
	return nil
}

// challenge requests a token. The reason may be empty.
func (r *Registry) challenge(q Request, reason string) error {
	header := fmt.Sprintf(`Bearer realm=%q,service=%q`, r.Realm(), service)
	if q.Repository != "" {
		header += fmt.Sprintf(`,scope="repository:%s:pull"`, q.Repository)
	}
	if reason != "" {
		header += fmt.Sprintf(`,error=%q`, reason)
	}
	return unauthorized(header)
}

func unauthorized(challenge string) error {
	return &failure{http.StatusUnauthorized, "UNAUTHORIZED", "authentication required", challenge}
}

func (r *Registry) authorizeBasic(req *http.Request, q Request) error {
	challenge := fmt.Sprintf("Basic realm=%q", service)
	name, password, given := req.BasicAuth()
	r.mu.Lock()
	defer r.mu.Unlock()
	u, known := r.rights.byPassword(name, password)
	switch {
	case given && !known:
		return unauthorized(challenge)
	case q.Repository != "" && r.rights.anybody.may(q.Repository):
		return nil
	case !given:
		return unauthorized(challenge)
	case q.Repository != "" && !u.may(q.Repository):
		return &failure{status: http.StatusForbidden, code: "DENIED", message: "requested access is denied"}
	}
	return nil
}

// token finds the token that a request carries.
func (r *Registry) token(q Request) (token, bool) {
	_, value, _ := strings.Cut(q.Authorization, " ")
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.tokens[value]
	return found, ok
}

// describeBearer adds to a log entry what the registry knows about its token.
func (r *Registry) describeBearer(q *Request) {
	if !q.bearer() {
		return
	}
	if found, ok := r.token(*q); ok {
		q.User, q.Scopes = found.user, found.scopes
	}
}
