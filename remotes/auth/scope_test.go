package auth

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/registrytest"
)

// newFront is a scene whose registry has other names for its repositories than its paths.
func newFront(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	for _, name := range []string{"p", "p/a"} {
		s.Put("back/"+name, manifestType, []byte(`{"mediaType":"`+manifestType+`"}`), "v1")
	}
	s.Intercept(registrytest.Prefixed("back"))
	return s
}

// TestOtherScope: our own scope first; when that token is refused, the one that the repository's own challenge names.
// It is kept for that repository.
func TestOtherScope(t *testing.T) {
	t.Parallel()
	s := newFront(t)
	s.Allow("user", secret, "*")
	s.must(s.pull(ctx(), "p"))
	s.wantLog(
		"GET p manifest v1 401",
		"POST token repository:p:pull 200 (password user)",
		"GET p manifest v1 401 (bearer user repository:p:pull)",
		"POST token repository:back/p:pull 200 (password user)",
		"GET p manifest v1 200 (bearer user repository:back/p:pull)",
	)
	s.must(s.pull(ctx(), "p")) // with an authorizer of its own
	s.wantLog("GET p manifest v1 200 (bearer user repository:back/p:pull)")
	s.must(s.pull(ctx(), "p/a"))
	s.wantLog(
		"POST token repository:p/a:pull 200 (password user)",
		"GET p/a manifest v1 401 (bearer user repository:p/a:pull)",
		"POST token repository:back/p/a:pull 200 (password user)",
		"GET p/a manifest v1 200 (bearer user repository:back/p/a:pull)",
	)
	s.ExpireTokens()
	s.must(s.pull(ctx(), "p"))
	s.wantLog(
		"GET p manifest v1 401 (bearer user repository:back/p:pull)",
		"POST token repository:back/p:pull 200 (password user)",
		"GET p manifest v1 200 (bearer user repository:back/p:pull)",
	)
}

// TestOtherScopeIsRefused: asked for once, then it is a denial.
func TestOtherScopeIsRefused(t *testing.T) {
	t.Parallel()
	s := newFront(t)
	s.Allow("user", secret, "p")
	err := s.pull(ctx(), "p")
	wantError(t, err, "denied", "insufficient_scope", "the test")
	if !errdefs.IsPermissionDenied(err) {
		t.Errorf("not a denial: %v", err)
	}
	s.wantLog(
		"GET p manifest v1 401",
		"POST token repository:p:pull 200 (password user)",
		"GET p manifest v1 401 (bearer user repository:p:pull)",
		"POST token repository:back/p:pull 200 (password user)",
		"GET p manifest v1 401 (bearer user)",
	)
	s.Allow("user", secret, "back/p")
	s.must(s.pull(ctx(), "p")) // from the beginning
	s.wantLog(
		"POST token repository:p:pull 200 (password user)",
		"GET p manifest v1 401 (bearer user repository:p:pull)",
		"POST token repository:back/p:pull 200 (password user)",
		"GET p manifest v1 200 (bearer user repository:back/p:pull)",
	)
}

// TestNamed: which scopes of a challenge are another name of what was asked for.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ scope, actions, name string }{
		{"repository:back/p:pull", "pull", "back/p"},
		{"repository:back/p:pull,push", "pull", "back/p"},
		{"repository:back/p:*", "pull,push", "back/p"},
		{"repository:back/p:push,pull", "pull,push", "back/p"},
		{"repository:host.test:5000/p:pull", "pull", "host.test:5000/p"},
		{"repository:p:delete", "delete", "p"},
		{"repository:back/p:pull", "pull,push", "back/p"}, // of a look before a push
		{"repository:back/p:delete", "pull,push", ""},
		{"repository:back/p:push", "pull", ""},
		{"repository:back/p:", "pull", ""},
		{"repository:back/p", "pull", ""},
		{"repository::pull", "pull", ""},
		{"repository:a:pull repository:b:pull", "pull", ""},
		{"repository(plugin):a:pull", "pull", ""},
		{"registry:catalog:*", "pull", ""},
		{"repository:a\x1b[31m:pull", "pull", ""},
		{"repository:" + strings.Repeat("a", 256) + ":pull", "pull", ""},
		{"", "pull", ""},
	} {
		if name, ok := named(test.scope, test.actions); name != test.name || ok != (test.name != "") {
			t.Errorf("%q for %s: %q, %t", test.scope, test.actions, name, ok)
		}
	}
}

// TestOtherScopeForPushing: it has the actions that were asked for, and what is mounted keeps its own name.
func TestOtherScopeForPushing(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "https://reg.test", RegistryOptions{})
	r.names.Put(Repository{"reg.test", "p"}, "back/p", flight.Forever)
	for want, a := range map[string]*Authorizer{
		"repository:back/p:pull":                        r.Authorizer(r.Repository("p")),
		"repository:back/p:pull,push":                   r.PushAuthorizer(r.Repository("p")),
		"repository:back/p:delete":                      r.DeleteAuthorizer(r.Repository("p")),
		"repository:a:pull repository:back/p:pull,push": r.PushAuthorizer(r.Repository("p"), r.Repository("a")),
		"repository:a:pull":                             r.Authorizer(r.Repository("a")),
	} {
		if got := a.scopeFor(nil); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestConfiguredHeaders: those of a hosts.toml go to the registry and to its token endpoint, each once, in the place of
// a client's own, but not of what the request needs.
func TestConfiguredHeaders(t *testing.T) {
	t.Parallel()
	for authorization, want := range map[string][]string{
		"":                {"", "Basic", "Bearer"},
		"Basic " + "Zm9v": {"Basic Zm9v", "Basic", "Bearer"},
	} {
		header := http.Header{"User-Agent": {"file"}, "X-Wanted": {"file"}, "Accept": {"file"}}
		if authorization != "" {
			header.Set("Authorization", authorization)
		}
		endpoint := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			_, _ = w.Write([]byte(`{"token":"t"}`))
		})
		registry := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			if !strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ") {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+endpoint.URL+`/token"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		r := NewRegistry("http", strings.TrimPrefix(registry.URL, "http://"), &http.Transport{}, &heldCredentials{held: map[string]Credential{"": withPassword}}, RegistryOptions{Header: header, UserAgent: "program"})
		a, responses := r.Authorizer(r.Repository("p")), []*http.Response(nil)
		for range 2 {
			req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, registry.URL, nil))
			req.Header = http.Header{"User-Agent": {"program"}, "X-Wanted": {"caller"}, "Accept": {"caller"}}
			if err := a.Authorize(ctx(), req); err != nil {
				t.Fatal(err)
			}
			resp, err := clientOf(r).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			responses = append(responses, resp) //nolint:bodyclose // closed before
			if resp.StatusCode == http.StatusUnauthorized {
				if err := a.AddResponses(ctx(), responses); err != nil {
					t.Fatal(err)
				}
			}
		}
		asked, tokens := registry.got(), endpoint.got()
		if len(asked) != 2 || len(tokens) != 2 {
			t.Fatalf("%d requests, %d for tokens", len(asked), len(tokens))
		}
		for i, req := range []*http.Request{asked[0], tokens[1], asked[1]} {
			accept := "caller"
			if i == 1 {
				accept = "file"
			}
			for name, value := range map[string]string{"User-Agent": "file", "X-Wanted": "file", "Accept": accept} {
				if got := req.Header[name]; len(got) != 1 || got[0] != value {
					t.Errorf("request %d: %s %q", i, name, got)
				}
			}
			if got := req.Header["Authorization"]; want[i] != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want[i])) || want[i] == "" && len(got) > 0 {
				t.Errorf("request %d: Authorization of %d values, want %q", i, len(got), want[i])
			}
		}
		if got := tokens[1].Header.Get("Authorization"); got == authorization {
			t.Errorf("the credential of the file took the place of the stores': %q", got)
		}
	}
}

// TestScopeOfMirror: a mirror's own name for a repository counts when it ends in the path's, alone and for pulling; and
// each repository has a challenge of its own there.
func TestScopeOfMirror(t *testing.T) {
	t.Parallel()
	const own = "repository:org/app:pull"
	for scope, want := range map[string]string{
		"repository:proxy/org/app:pull":      "repository:proxy/org/app:pull",
		own:                                  own,
		"repository:proxy-org/app:pull":      own,
		"repository:proxy/org/app:pull,push": own,
		"repository:proxy/org/app:delete":    own,
		"repository:proxy/other:pull":        own,
		"repository:proxy/other:pull repository:proxy/org/app:pull":      own,
		"registry:catalog:* repository:proxy/org/app:pull":               own,
		"repository:proxy/other:pull,push repository:proxy/org/app:pull": own,
		"": own,
	} {
		for _, mirror := range []bool{true, false} {
			r := newRegistry(t, "https://mirror.test", RegistryOptions{OtherNames: mirror})
			if !mirror {
				want = own
			}
			if got := r.Authorizer(r.Repository("org/app")).scopeFor(&Challenge{Scheme: "bearer", Scope: scope}); got != want {
				t.Errorf("mirror %t, challenge for %q: asks for %q, want %q", mirror, scope, got, want)
			}
			r.Authorizer(r.Repository("org/app")).learn(Challenge{Scheme: "bearer", Scope: scope})
			if other := r.Authorizer(r.Repository("app")).current(); (other == nil) != mirror {
				t.Errorf("mirror %t: the challenge for another repository is %v", mirror, other)
			}
		}
	}
}

// TestOtherNamesAreBounded: a crowd of repositories with names of their own does not fill the memory.
func TestOtherNamesAreBounded(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "https://reg.test", RegistryOptions{})
	for i := range flight.DefaultMost + 1 {
		a := r.Authorizer(r.Repository("p" + strconv.Itoa(i)))
		a.takeName(Challenge{Scope: "repository:back:pull"})
	}
	if n := len(r.names.Values()); n > flight.DefaultMost {
		t.Errorf("%d names are kept", n)
	}
	for i, want := range map[int]string{0: "", 1: "back", flight.DefaultMost: "back"} {
		if name := r.nameOf(r.Repository("p" + strconv.Itoa(i))); name != want {
			t.Errorf("number %d is %q", i, name)
		}
	}
}
