package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/retry"
)

// front is a registry that redirects all of /v2/ to another one.
func front(t *testing.T, to string) *recorder { return newRecorder(t, redirectAll(to)) }

func redirectAll(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Location", to+req.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// sources is a Source by host, which notes for what it was asked, and what of that for a host that was redirected to.
type sources struct {
	byHost            map[string]Credential
	asked, redirected []string
}

func (s *sources) Lookup(ctx context.Context, r Repository) (Credential, error) {
	s.asked = append(s.asked, r.String())
	if IsRedirected(ctx) {
		s.redirected = append(s.redirected, r.String())
	}
	if c, ok := s.byHost[r.host]; ok {
		return c, nil
	}
	return Credential{Source: "none"}, nil
}

// TestRedirectedRegistry: a host that a registry redirects to and that asks for a token is another registry: anonymous
// there, or with what is held for it, never with what is held for the first.
func TestRedirectedRegistry(t *testing.T) {
	for name, test := range map[string]struct {
		option registrytest.Option
		public bool
		held   string // password for the other host
		status int
		denied bool
		tokens int
	}{
		"anonymous":                   {option: registrytest.WithTokenAuth(), public: true, status: 200, tokens: 1},
		"with its own credential":     {option: registrytest.WithTokenAuth(), held: secret, status: 200, tokens: 1},
		"with nothing":                {option: registrytest.WithTokenAuth(), denied: true, tokens: 1},
		"with a wrong password":       {option: registrytest.WithTokenAuth(), held: "wrong", denied: true},
		"its tokens from elsewhere":   {option: registrytest.TokenOnOwnServer(), held: secret, status: 200, tokens: 1},
		"Basic":                       {option: registrytest.WithBasicAuth(), held: secret, status: 200},
		"Basic with nothing":          {option: registrytest.WithBasicAuth(), denied: true},
		"Basic, and a wrong password": {option: registrytest.WithBasicAuth(), held: "wrong", denied: true},
	} {
		t.Run(name, func(t *testing.T) {
			other := registrytest.New(test.option)
			t.Cleanup(other.Close)
			other.Allow("theirs", secret, "org/app")
			if test.public {
				other.AllowAnonymous("org/app")
			}
			d := other.Image("org/app", registrytest.TarLayer(map[string]string{"a": "b"}))
			first := front(t, other.URL())
			held := &sources{byHost: map[string]Credential{first.Listener.Addr().String(): UserCredential("ours", "canary", "first")}}
			if test.held != "" {
				held.byHost[other.Host()] = UserCredential("theirs", test.held, "second")
			}
			r := NewRegistry("http", first.Listener.Addr().String(), &http.Transport{}, held, RegistryOptions{})
			t.Cleanup(r.CloseIdleConnections)
			for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodGet} {
				req, err := http.NewRequestWithContext(t.Context(), method, first.URL+"/v2/org/app/manifests/"+d.Digest.String(), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := clientOf(r).Do(req)
				var denied *DeniedError
				if got := errors.As(err, &denied); got != test.denied {
					t.Fatalf("%s: %v", method, err)
				}
				if test.denied {
					if denied.Repository.String() != other.Host()+"/org/app" || retry.IsBroken(err) {
						t.Errorf("denied: %v", err)
					}
					noLeak(t, err)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := resp.Body.Close(); err != nil || resp.StatusCode != test.status {
					t.Errorf("%s: status %d, %v", method, resp.StatusCode, err)
				}
			}
			if tokens := len(other.Log(registrytest.Of(registrytest.KindToken))); !test.denied && tokens != test.tokens {
				t.Errorf("%d tokens, want %d", tokens, test.tokens)
			}
			for _, q := range other.Log() {
				if q.User == "ours" || strings.Contains(q.Authorization, "canary") || strings.Contains(q.Form.Encode(), "canary") {
					t.Errorf("the first registry's credential went to the other: %s", q)
				}
			}
			for _, req := range first.got() {
				if req.Header.Get("Authorization") != "" {
					t.Errorf("the first registry, which asks for nothing, was shown something")
				}
			}
			if len(held.asked) == 0 || !slices.Equal(held.asked, held.redirected) {
				t.Errorf("looked up: %v, and known to be redirected there: %v", held.asked, held.redirected)
			}
		})
	}
}

// TestRedirectedRefusal: what another registry refuses is a denial of that one, after a few requests, whatever it asks for.
func TestRedirectedRefusal(t *testing.T) {
	for want, refuse := range map[string]func(w http.ResponseWriter, n int){
		"answered 403 Forbidden": func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusForbidden) },
		"answered 401 repeatedly": func(w http.ResponseWriter, n int) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="%d"`, w.Header().Get("X-Own"), n))
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		n := 0
		other := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("X-Own", req.Host)
			switch {
			case req.URL.Path == "/token":
				_, _ = w.Write([]byte(`{"token":"t"}`))
			case req.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				n++
				refuse(w, n)
			}
		})
		first := front(t, other.URL)
		r := NewRegistry("http", first.Listener.Addr().String(), &http.Transport{}, &sources{}, RegistryOptions{})
		t.Cleanup(r.CloseIdleConnections)
		err := get(t, r, first.URL+"/v2/org/app/manifests/v1")
		wantError(t, err, other.Listener.Addr().String()+"/org/app denied", other.Listener.Addr().String()+" "+want)
		if n > otherExchanges {
			t.Errorf("%s: asked %d times with a token", want, n)
		}
	}
}

// TestRedirectedWrite: nothing is looked up to change anything at a host that a registry redirects to.
func TestRedirectedWrite(t *testing.T) {
	for _, method := range []string{http.MethodDelete, http.MethodPost, http.MethodPut, http.MethodPatch} {
		other := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		first := front(t, other.URL)
		held := &sources{byHost: map[string]Credential{other.Listener.Addr().String(): UserCredential("theirs", secret, "second")}}
		r := NewRegistry("http", first.Listener.Addr().String(), &http.Transport{}, held, RegistryOptions{})
		t.Cleanup(r.CloseIdleConnections)
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, first.URL+"/v2/org/app/manifests/v1", http.NoBody))
		resp, err := clientOf(r).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusUnauthorized || len(other.got()) != 1 || len(held.asked) > 0 {
			t.Errorf("%s: %d after %d requests, looked up: %v", method, resp.StatusCode, len(other.got()), held.asked)
		}
	}
}

// TestRedirectedToCrowds: a registry that redirects to ever others, or to ever other repositories, does not fill the memory.
func TestRedirectedToCrowds(t *testing.T) {
	r := newRegistry(t, "https://reg.test", RegistryOptions{})
	for _, url := range []string{"https://other%d.test/v2/x/manifests/v1", "https://other.test/v2/x%d/manifests/v1"} {
		for i := range maxOthers + 1 {
			req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf(url, i), http.NoBody))
			o, err := r.others.at(r, req)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := r.others.at(r, req); err != nil || again.authorizer != o.authorizer || !r.Authorizer(r.Repository("p")).HasRedirectedTo(req.URL) {
				t.Fatalf("%s is not known a moment later, %v", req.URL, err)
			}
		}
		o := &r.others
		registries, hosts, repositories := len(o.registries.Values()), len(o.challenged.Values()), len(o.authorizers.Values())
		if registries > maxOthers || hosts > maxOthers || repositories > maxOthers {
			t.Errorf("%d registries, %d hosts and %d repositories are kept", registries, hosts, repositories)
		}
	}
}

// TestRedirectedStorage: what answers 401 or 403 without asking for a token is storage; nobody's credential is looked up
// for it, and its answer stands.
func TestRedirectedStorage(t *testing.T) {
	for _, header := range []string{"", `Basic realm="bucket"`, "Negotiate"} {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
			storage := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
				if header != "" {
					w.Header().Set("WWW-Authenticate", header)
				}
				w.WriteHeader(status)
			})
			first := newRecorder(t, redirectTo(storage.URL+"/bucket/sha256-abc?signature=x"))
			held := &sources{byHost: map[string]Credential{storage.Listener.Addr().String(): UserCredential("theirs", secret, "second")}}
			r := NewRegistry("http", first.Listener.Addr().String(), &http.Transport{}, held, RegistryOptions{})
			t.Cleanup(r.CloseIdleConnections)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, first.URL+"/v2/org/app/blobs/sha256:abc", http.NoBody)
			resp, err := clientOf(r).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil || resp.StatusCode != status || len(storage.got()) != 1 || len(held.asked) > 0 {
				t.Errorf("%q: %d after %d requests, looked up: %v", header, resp.StatusCode, len(storage.got()), held.asked)
			}
		}
	}
}

// TestRedirectedLoop: hosts that send one to each other, each asking for a token, come to an end.
func TestRedirectedLoop(t *testing.T) {
	var one, two *recorder
	asking := func(next func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/token" {
				_, _ = w.Write([]byte(`{"token":"t"}`))
				return
			}
			if req.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			redirectAll(next())(w, req)
		}
	}
	one = newRecorder(t, asking(func() string { return two.URL }))
	two = newRecorder(t, asking(func() string { return one.URL }))
	first := front(t, one.URL)
	r := NewRegistry("http", first.Listener.Addr().String(), &http.Transport{}, Sources{}, RegistryOptions{})
	t.Cleanup(r.CloseIdleConnections)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, first.URL+"/v2/org/app/manifests/v1", http.NoBody)
	resp, err := clientOf(r).Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("%v", err)
	}
	if n := len(one.got()) + len(two.got()); n > 30 {
		t.Errorf("%d requests", n)
	}
}

// TestRedirectedPlain: nobody has said that the other host is spoken to over http, so that its credential does not go there.
func TestRedirectedPlain(t *testing.T) {
	held := &sources{byHost: map[string]Credential{"other.test": UserCredential("theirs", secret, "second")}}
	r := NewRegistry("http", "first.test", &http.Transport{}, held, RegistryOptions{})
	before, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://first.test/v2/org/app/manifests/v1", http.NoBody)
	for scheme, want := range map[string]bool{"http": false, "https": true} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://other.test/v2/x/manifests/v1", http.NoBody)
		req.Response = &http.Response{Request: before}
		o, err := r.others.at(r, req)
		if err != nil {
			t.Fatal(err)
		}
		credential, err := o.authorizer.registry.source.Lookup(t.Context(), o.authorizer.repository)
		if err != nil || credential.Anonymous() == want {
			t.Errorf("%s: %+v, %v", scheme, credential, err)
		}
		if o.authorizer.repository.String() != "other.test/x" {
			t.Errorf("%s", o.authorizer.repository)
		}
	}
}

// TestRepositoryOf: whose content a URL is about.
func TestRepositoryOf(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/org/app/manifests/v1":                          "org/app",
		"/v2/org/app/blobs/sha256:abc":                      "org/app",
		"/v2/org/manifests/tags/list":                       "org/manifests",
		"/artifactory/api/docker/r/v2/a/b/c/manifests/v1":   "a/b/c",
		"/v2/a/referrers/sha256:abc":                        "a",
		"/v2/a/v2/b/manifests/v1":                           "a/v2/b",
		"/v2/manifests/v1":                                  "",
		"/v2/":                                              "",
		"/bucket/blobs/sha256/ab/data":                      "",
		"/v2/Org/App+x/manifests/v1":                        "Org/App+x",
		"/v2/\x1b[31mred/manifests/v1":                      "",
		"/v2/a\nb/manifests/v1":                             "",
		"/v2/a:pull repository:b/manifests/v1":              "", // would be two scopes
		"/v2/" + strings.Repeat("a", 256) + "/manifests/v1": "",
	} {
		if got, ok := repositoryOf(path); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
}
