package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/registrytest"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// heldCredentials is a source: by the repository's name, or "" for all others. It
// counts what it is told to forget.
type heldCredentials struct {
	mu        sync.Mutex
	held      map[string]Credential
	next      map[string]Credential // take their place when they are forgotten
	err       error
	forgotten int
}

func (c *heldCredentials) Lookup(_ context.Context, repository Repository) (Credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	credential, ok := c.held[repository.Name()]
	if !ok {
		credential = c.held[""]
	}
	return credential, c.err
}

func (c *heldCredentials) Forget(Credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	if c.next != nil {
		c.held = c.next
	}
}

// scene is a registry with the repositories p, p/a and p/b, seen through this
// package.
type scene struct {
	*registrytest.Registry
	t        *testing.T
	registry *Registry
	client   *http.Client
	source   *heldCredentials
	metrics  *Metrics
}

func newScene(t *testing.T, held map[string]Credential, options ...registrytest.Option) *scene {
	t.Helper()
	s := &scene{t: t, Registry: registrytest.New(options...), source: &heldCredentials{held: held}, metrics: new(Metrics)}
	t.Cleanup(s.Close)
	for _, name := range []string{"p", "p/a", "p/b"} {
		s.Put(name, manifestType, []byte(`{"mediaType":"`+manifestType+`"}`), "v1")
	}
	s.registry = NewRegistry("http", s.Host(), http.DefaultTransport.(*http.Transport), s.source, RegistryOptions{Metrics: s.metrics})
	s.client = &http.Client{Transport: s.registry.Transport(), CheckRedirect: s.registry.CheckRedirect}
	t.Cleanup(func() { noLeak(t, s.registry) })
	return s
}

func (s *scene) authorizer(name string) *Authorizer {
	s.t.Helper()
	return s.registry.Authorizer(repository(s.t, s.Host()+"/"+name))
}

// pull fetches a manifest as containerd does, with an authorizer of its own.
func (s *scene) pull(ctx context.Context, name string) error {
	return s.pullWith(ctx, s.authorizer(name), name)
}

func (s *scene) pullWith(ctx context.Context, a *Authorizer, name string) error {
	var responses []*http.Response
	for range 5 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/v2/"+name+"/manifests/v1", nil)
		if err != nil {
			return err
		}
		if err = a.Authorize(ctx, req); err != nil {
			return err
		}
		resp, err := s.client.Do(req)
		if err != nil {
			return err
		}
		responses = append(responses, resp) //nolint:bodyclose // closed in the next line
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusUnauthorized:
			if err := a.AddResponses(ctx, responses); err != nil {
				return err
			}
		case http.StatusForbidden:
			return a.Denied(ctx, resp.Status)
		default:
			return errors.New(resp.Status)
		}
	}
	return errors.New("too many tries")
}

// wantLog compares all requests that the registry got so far, and forgets them.
func (s *scene) wantLog(want ...string) {
	s.t.Helper()
	var got []string
	for _, q := range s.Log() {
		got = append(got, q.String())
		if n := len(q.Scopes); q.Kind == registrytest.KindToken && n != 1 {
			s.t.Errorf("a token was asked for with %d scopes: %v", n, q)
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("requests:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	s.ResetLog()
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestOneTokenPerRepository(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": {}, "p": withPassword, "p/a": {Username: "other", Password: secret}}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	s.Allow("other", secret, "p/a")
	s.AllowAnonymous("p/b")
	for range 2 {
		for _, name := range []string{"p", "p/a", "p/b"} {
			s.must(s.pull(ctx(), name))
		}
	}
	s.wantLog(
		"GET p manifest v1 401", // the only one: the challenge is the registry's
		"POST token repository:p:pull 200 (password user)",
		"GET p manifest v1 200 (bearer user repository:p:pull)",
		"POST token repository:p/a:pull 200 (password other)",
		"GET p/a manifest v1 200 (bearer other repository:p/a:pull)",
		"GET token repository:p/b:pull 200 (anonymous)",
		"GET p/b manifest v1 200 (bearer anonymous repository:p/b:pull)",
		"GET p manifest v1 200 (bearer user repository:p:pull)",
		"GET p/a manifest v1 200 (bearer other repository:p/a:pull)",
		"GET p/b manifest v1 200 (bearer anonymous repository:p/b:pull)",
	)
	if tokens, challenges := s.metrics.Tokens.Load(), s.metrics.Challenges.Load(); tokens != 3 || challenges != 1 {
		t.Errorf("counted %d tokens, %d challenges", tokens, challenges)
	}
}

func TestManyPullsOneTokenPerScope(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "*")
	s.must(s.pull(ctx(), "p"))
	s.ResetLog()
	for i := range 50 {
		s.Put(fmt.Sprintf("p/%d", i), manifestType, []byte("{}"), "v1")
	}
	var pulls sync.WaitGroup
	for i := range 500 {
		pulls.Go(func() {
			if err := s.pull(ctx(), fmt.Sprintf("p/%d", i%50)); err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	scopes := map[string]int{}
	for _, q := range s.Log(registrytest.Of(registrytest.KindToken)) {
		scopes[strings.Join(q.Scopes, " ")]++
	}
	for scope, n := range scopes {
		if n != 1 {
			t.Errorf("%d requests for %s", n, scope)
		}
	}
	if content := s.Count(registrytest.Of(registrytest.KindManifest)); len(scopes) != 50 || content != 500 {
		t.Errorf("%d scopes, %d requests for content", len(scopes), content)
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "p")
	s.must(s.pull(ctx(), "p"))
	s.ResetLog()

	err := s.pull(ctx(), "p/a")
	wantError(t, err, s.Host()+"/p/a denied", "insufficient_scope", "credential the test", "scope repository:p/a:pull", "ask for the right to pull")
	if !errors.Is(err, errdefs.ErrPermissionDenied) {
		t.Errorf("class of %v", err)
	}
	s.wantLog(
		"POST token repository:p/a:pull 200 (password user)",
		"GET p/a manifest v1 401 (bearer user)",
	)
	s.must(s.pull(ctx(), "p")) // what may be read still may

	s.Intercept(registrytest.Answer(http.StatusForbidden, nil, registrytest.In("p/b")))
	err = s.pull(ctx(), "p/b")
	wantError(t, err, s.Host()+"/p/b denied", "403")
	if !errors.Is(err, errdefs.ErrPermissionDenied) {
		t.Errorf("class of %v", err)
	}
}

func TestDeniedWithoutCredential(t *testing.T) {
	t.Parallel()
	for _, option := range []registrytest.Option{registrytest.WithTokenAuth(), registrytest.WithBasicAuth()} {
		s := newScene(t, map[string]Credential{"": {Source: "none: no key for it in FILE"}}, option)
		err := s.pull(ctx(), "p")
		wantError(t, err, s.Host()+"/p denied", "none: no key for it in FILE", "log in: docker login "+s.Host())
		if !errors.Is(err, errdefs.ErrUnauthenticated) {
			t.Errorf("class of %v", err)
		}
	}
}

func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "*")
	s.must(s.pull(ctx(), "p"))
	s.ResetLog()
	s.ExpireTokens()
	s.must(s.pull(ctx(), "p"))
	s.wantLog(
		"GET p manifest v1 401 (bearer user repository:p:pull)",
		"POST token repository:p:pull 200 (password user)",
		"GET p manifest v1 200 (bearer user repository:p:pull)",
	)
}

// A registry that refuses each token is asked twice, not for ever.
func TestTokenIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "*")
	s.Intercept(registrytest.Answer(http.StatusUnauthorized,
		http.Header{"WWW-Authenticate": {`Bearer realm="` + s.Realm() + `",service="registrytest",error="invalid_token"`}},
		registrytest.Of(registrytest.KindManifest)))
	wantError(t, s.pull(ctx(), "p"), "denied", "invalid_token")
	if n := s.Count(registrytest.Of(registrytest.KindToken)); n > 2 {
		t.Errorf("%d tokens", n)
	}
}

// What may pass is asked again, soon; what failed for good is not kept.
func TestTokenEndpointRecovers(t *testing.T) {
	t.Parallel()
	first := func(n int) registrytest.Filter { return registrytest.First(n, registrytest.Of(registrytest.KindToken)) }
	wait := func(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }
	for name, test := range map[string]struct {
		fault registrytest.Interceptor
		fails string // what the first pull says; empty: nothing
	}{
		"500":         {registrytest.Answer(500, nil, first(2)), ""},
		"reset":       {registrytest.Reset(first(2)), ""},
		"429":         {registrytest.Answer(429, wait("1"), first(1)), ""},
		"503 thrice":  {registrytest.Answer(503, nil, first(3)), ""},
		"429, a day":  {registrytest.Answer(429, wait("86400"), first(1)), "asking to wait for 24h0m0s"},
		"no endpoint": {registrytest.Answer(410, nil, first(2)), "410"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
			s.Allow("user", secret, "*")
			s.Intercept(test.fault)
			err := s.pull(ctx(), "p")
			if test.fails != "" {
				wantError(t, err, s.Host(), test.fails)
				err = s.pull(ctx(), "p")
			}
			s.must(err)
		})
	}
}

// One who gives up neither hurts the others nor keeps the endpoint busy.
func TestTokenEndpointHangs(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	healthy := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithTokenAuth())
	s.Allow("user", secret, "*")
	healthy.Allow("user", secret, "*")
	asked, released := make(chan bool, 1), make(chan bool)
	s.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if registrytest.Describe(req).Kind == registrytest.KindToken {
			asked <- true
			select {
			case <-released:
			case <-req.Context().Done():
			}
		}
		return false
	})
	impatient, cancel := context.WithCancel(ctx())
	results := make(chan error, 2)
	go func() { results <- s.pull(impatient, "p") }()
	<-asked
	go func() { results <- s.pull(ctx(), "p") }()
	s.must(healthy.pull(ctx(), "p"))
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(released)
	if err := <-results; err != nil {
		t.Errorf("the patient one got %v", err)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	s := newScene(t, map[string]Credential{"": withPassword}, registrytest.WithBasicAuth())
	s.Allow("user", secret, "*")
	s.must(s.pull(ctx(), "p"))
	s.must(s.pull(ctx(), "p/a"))
	s.wantLog(
		"GET p manifest v1 401",
		"GET p manifest v1 200 (basic user)",
		"GET p/a manifest v1 200 (basic user)",
	)
	s.Allow("user", "changed", "*")
	err := s.pull(ctx(), "p")
	wantError(t, err, "p denied", "the registry answered 401")
	if s.source.forgotten == 0 {
		t.Error("the refused credential is kept")
	}
}
