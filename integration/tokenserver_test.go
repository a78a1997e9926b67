package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// everyRepository stands for all repositories in a user's rights.
const everyRepository = "*"

// user is somebody whom the token server knows.
type user struct {
	password string
	identity string              // identity token, given and taken as refresh token
	rights   map[string][]string // repository to actions
}

// pulls are rights to pull from repositories.
func pulls(repositories ...string) map[string][]string {
	rights := map[string][]string{}
	for _, repository := range repositories {
		rights[repository] = []string{"pull"}
	}
	return rights
}

// pushes are rights to pull from repositories and to push to them.
func pushes(repositories ...string) map[string][]string {
	rights := pulls(repositories...)
	for repository := range rights {
		rights[repository] = []string{"pull", "push"}
	}
	return rights
}

// tokenRequest is a line of the token server's log.
type tokenRequest struct {
	User   string
	Grant  string   // "anonymous", "basic", "password" or "refresh_token"
	Scopes []string // as asked for
	Status int
}

// tokenServer implements both variants of the distribution token specification: GET with Basic, and
// POST. The token's access is what was asked for and the user has; user "" is the anonymous one.
type tokenServer struct {
	signer signer
	users  map[string]user
	realm  string

	mu     sync.Mutex
	log    []tokenRequest
	refuse func(tokenRequest) int // the status to refuse with, or 0
}

func startTokenServer(t testing.TB, users map[string]user) *tokenServer {
	t.Helper()
	return serveTokens(t, users, (*httptest.Server).Start)
}

func serveTokens(t testing.TB, users map[string]user, serve func(*httptest.Server)) *tokenServer {
	t.Helper()
	s := &tokenServer{signer: newSigner(t), users: users}
	server := httptest.NewUnstartedServer(s)
	serve(server)
	t.Cleanup(server.Close)
	s.realm = server.URL + "/token"
	return s
}

// user is whom the server knows by a name.
func (s *tokenServer) user(name string) user {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[name]
}

// know makes somebody known from now on.
func (s *tokenServer) know(name string, u user) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[name] = u
}

// refuseWhen lets the server refuse some requests, with the status that refuse returns.
func (s *tokenServer) refuseWhen(refuse func(tokenRequest) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// requests returns the log since the last call.
func (s *tokenServer) requests() []tokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/token" {
		http.NotFound(w, r)
		return
	}
	asked, password := parseTokenRequest(r)
	asked.Status = s.check(&asked, password, r)
	s.mu.Lock()
	if s.refuse != nil {
		asked.Status = cmp.Or(s.refuse(asked), asked.Status)
	}
	s.log = append(s.log, asked)
	s.mu.Unlock()

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(asked.Status)
	_ = json.NewEncoder(w).Encode(s.answer(asked)) // the client has gone: nothing to do
}

func parseTokenRequest(r *http.Request) (asked tokenRequest, secret string) {
	if r.Method == http.MethodPost {
		asked = tokenRequest{
			User:   r.PostFormValue("username"),
			Grant:  r.PostFormValue("grant_type"),
			Scopes: strings.Fields(r.PostFormValue("scope")),
		}
		if asked.Grant == "refresh_token" {
			return asked, r.PostFormValue("refresh_token")
		}
		return asked, r.PostFormValue("password")
	}
	asked = tokenRequest{Grant: "anonymous"}
	for _, scope := range r.URL.Query()["scope"] {
		asked.Scopes = append(asked.Scopes, strings.Fields(scope)...)
	}
	name, password, ok := r.BasicAuth()
	if ok {
		asked.User, asked.Grant = name, "basic"
	}
	return asked, password
}

// check finds out who asks, and returns the status of the answer.
func (s *tokenServer) check(asked *tokenRequest, secret string, r *http.Request) int {
	if r.FormValue("service") != service {
		return http.StatusBadRequest
	}
	known := false
	switch asked.Grant {
	case "anonymous":
		known = true
	case "basic", "password":
		known = asked.User != "" && secret != "" && s.user(asked.User).password == secret
	case "refresh_token":
		asked.User, known = s.identify(secret)
	default:
		return http.StatusBadRequest
	}
	if !known {
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

func (s *tokenServer) identify(identity string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, u := range s.users {
		if identity != "" && u.identity == identity {
			return name, true
		}
	}
	return "", false
}

func (s *tokenServer) answer(asked tokenRequest) map[string]any {
	failure := map[string]any{"errors": []map[string]string{{"code": "UNAUTHORIZED", "message": "wrong user name or password"}}}
	if asked.Status != http.StatusOK {
		return failure
	}
	token, err := s.signer.token(asked.User, s.grant(asked))
	if err != nil {
		return failure
	}
	answer := map[string]any{"access_token": token, "expires_in": int(lifetime.Seconds()), "scope": strings.Join(asked.Scopes, " ")}
	if asked.Grant == "basic" || asked.Grant == "anonymous" {
		answer["token"] = token // the older of the two variants
	}
	return answer
}

// grant is the part of what was asked for that the user has.
func (s *tokenServer) grant(asked tokenRequest) []access {
	granted, rights := []access{}, s.user(asked.User).rights
	for _, scope := range asked.Scopes {
		repository, actions, ok := parseScope(scope)
		if !ok {
			continue
		}
		actions = slices.DeleteFunc(actions, func(action string) bool {
			return !slices.Contains(rights[repository], action) && !slices.Contains(rights[everyRepository], action)
		})
		if len(actions) > 0 {
			granted = append(granted, access{"repository", repository, actions})
		}
	}
	return granted
}

func parseScope(scope string) (repository string, actions []string, ok bool) {
	rest, ok := strings.CutPrefix(scope, "repository:")
	repository, list, found := strings.Cut(rest, ":")
	return repository, strings.Split(list, ","), ok && found
}

// adminToken is a token to push and delete with, which leaves no trace in the log.
func (s *tokenServer) adminToken(t testing.TB, repository string) string {
	t.Helper()
	token, err := s.signer.token("admin", []access{{"repository", repository, []string{"pull", "push", "delete"}}})
	must(t, err)
	return token
}

func pullScope(repository string) string { return fmt.Sprintf("repository:%s:pull", repository) }
