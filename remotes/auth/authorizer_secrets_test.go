package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/registrytest"
)

var errAsk = errors.New("no answer")

// wantSecretOnlyAt fails when a secret came anywhere else than to the token
// endpoint.
func (s *scene) wantSecretOnlyAt(kind registrytest.Kind) {
	s.t.Helper()
	seen := false
	for _, q := range s.Log() {
		text := fmt.Sprint(q.Method, q.Host, q.Path, q.Query, q.Header, q.Form)
		for _, leak := range leaks {
			if strings.Contains(text, leak) && q.Kind != kind {
				s.t.Errorf("a secret came with %v", q)
			}
			seen = seen || strings.Contains(text, leak)
		}
	}
	if !seen {
		s.t.Error("no secret came at all")
	}
}

func TestIdentityToken(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withIdentity}, registrytest.TokenOnOwnServer())
	s.AllowIdentityToken(secret, "p")
	s.must(s.pull(ctx(), "p"))
	s.wantSecretOnlyAt(registrytest.KindToken)
	s.wantLog(
		"GET p manifest v1 401",
		"POST token repository:p:pull 200 (refresh_token <token>)",
		"GET p manifest v1 200 (bearer <token> repository:p:pull)",
	)
}

func TestPasswordGoesToTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	for _, options := range [][]registrytest.Option{
		{registrytest.TokenOnOwnServer()},
		{registrytest.WithTokenAuth(), registrytest.WithoutPOST(http.StatusNotFound)},
		{registrytest.WithTokenAuth(), registrytest.WithoutPOST(http.StatusMethodNotAllowed)},
	} {
		s := newScene(t, map[string]Credential{"": withPassword}, options...)
		s.Allow("user", secret, "p")
		s.must(s.pull(ctx(), "p"))
		s.wantSecretOnlyAt(registrytest.KindToken)
	}
}

// A registry token is shown to the registry as it is, and to nobody else.
func TestRegistryToken(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": {RegistryToken: secret, Source: "the test"}}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	var shown []string
	s.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if shown = append(shown, req.Header.Get("Authorization")); shown[len(shown)-1] == "" {
			return false
		}
		w.WriteHeader(http.StatusOK)
		return true
	})
	s.must(s.pull(ctx(), "p"))
	if len(shown) != 2 || shown[1] != "Bearer "+secret || s.Count(registrytest.Of(registrytest.KindToken)) > 0 {
		t.Errorf("shown %q", shown)
	}
}

// What the source cannot find out does not become an anonymous request.
func TestSourceFails(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil, registrytest.WithTokenAuth())
	s.AllowAnonymous("p")
	s.source.err = errAsk
	if err := s.pull(ctx(), "p"); !errors.Is(err, errAsk) {
		t.Errorf("got %v", err)
	}
	s.wantLog("GET p manifest v1 401")
}

// A kept answer of a helper that is refused is replaced by a new one, at once.
func TestRefusedCredentialIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	old := Credential{Username: "user", Password: secret + "-old", Source: "old"}
	s := newScene(t, map[string]Credential{"": old}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	s.source.next = map[string]Credential{"": withPassword}
	s.must(s.pull(ctx(), "p"))
	if s.source.forgotten != 1 {
		t.Errorf("forgotten %d times", s.source.forgotten)
	}
}

func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	err := s.pull(ctx(), "p")
	wantError(t, err, s.Host()+"/p denied", "answered 401", "renew that credential")
	var denied *DeniedError
	if !errors.As(err, &denied) || !denied.Refused || denied.Anonymous || !errors.Is(err, errdefs.ErrUnauthenticated) {
		t.Errorf("got %#v", denied)
	}
	s.wantLog(
		"GET p manifest v1 401",
		"POST token repository:p:pull 401 (password user)",
		"GET token repository:p:pull 401 (basic user)",
	)
}

func TestHelperAnswerIsDroppedWhenRefused(t *testing.T) {
	t.Parallel()
	helper := newHelper(t, answering)
	stores := NewStores(StoresOptions{Inline: Secret(`{"credsStore":"` + helper + `"}`)})
	s := newScene(t, nil, registrytest.WithTokenAuth())
	s.registry.source = Sources{s.source, stores}
	s.Allow("user", "changed", "p")
	wantError(t, s.pull(ctx(), "p"), "renew that credential", "helper docker-credential-"+helper)
	if runs := runsOf(t, helper); len(runs) != 2 {
		t.Errorf("runs: %q, want a second one after the refusal", runs)
	}
	s.Allow("user", secret, "p")
	s.must(s.pull(ctx(), "p"))
	noLeak(t, stores, s.registry.source, s.authorizer("p"))
}

// Nothing goes to another origin, and its challenge teaches nothing.
func TestOtherOrigin(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	a := s.authorizer("p")
	s.must(s.pullWith(ctx(), a, "p"))
	for _, url := range []string{"https://" + s.Host(), "http://other", "http://127.0.0.1:1", "http://" + strings.Replace(s.Host(), "127.0.0.1", "localhost", 1), s.URL() + "0"} {
		req := httptest.NewRequest(http.MethodGet, url+"/v2/p/manifests/v1", nil)
		if err := a.Authorize(ctx(), req); err != nil || req.Header.Get("Authorization") != "" {
			t.Errorf("%s gets %q, %v", url, req.Header.Get("Authorization"), err)
		}
		header := http.Header{"Www-Authenticate": {`Bearer realm="http://evil/token"`}}
		err := a.AddResponses(ctx(), []*http.Response{{Request: req, Header: header}})
		if !errors.Is(err, errdefs.ErrNotImplemented) {
			t.Errorf("%s: the challenge gives %v", url, err)
		}
	}
	if c := a.current(); c.Realm != s.Realm() {
		t.Errorf("learnt %v", c)
	}
}

// A token endpoint's redirect to another origin is not followed.
func TestTokenEndpointRedirects(t *testing.T) {
	t.Parallel()
	evil := registrytest.New()
	t.Cleanup(evil.Close)
	for _, method := range []int{0, http.StatusMethodNotAllowed} {
		s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth(), registrytest.WithoutPOST(method))
		s.Intercept(registrytest.Redirect(evil.URL(), registrytest.Of(registrytest.KindToken)))
		wantError(t, s.pull(ctx(), "p"), "refused to follow its redirect to "+evil.URL())
	}
	if n := evil.Count(); n > 0 {
		t.Errorf("%d requests to the other origin", n)
	}
}

// Custom headers and foreign Authorization headers do not confuse it.
func TestStrangeAuthorizationHeader(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	a := s.authorizer("p")
	s.must(s.pullWith(ctx(), a, "p"))
	req := httptest.NewRequest(http.MethodGet, s.URL()+"/v2/", nil)
	req.Header.Set("Authorization", "x")
	challenge := http.Header{"Www-Authenticate": {`Bearer realm="` + s.Realm() + `",service="registrytest"`}}
	if err := a.AddResponses(ctx(), []*http.Response{{Request: req, Header: challenge}}); err != nil {
		t.Error(err)
	}
}

// Each repository may have a challenge of its own.
func TestChallengePerRepository(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "*")
	s.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		if q.Repository != "p/a" || q.Scheme == "Basic" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s.must(s.pull(ctx(), "p"))
	a := s.authorizer("p/a")
	err := s.pullWith(ctx(), a, "p/a")
	if c := a.current(); c.Scheme != "basic" {
		t.Errorf("learnt %v, %v", c, err)
	}
	s.ResetLog()
	s.must(s.pull(ctx(), "p"))
	s.wantLog("GET p manifest v1 200 (bearer user repository:p:pull)")
}
