package registrytest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
)

func TestTokenGrants(t *testing.T) {
	tests := map[string]struct {
		user, password, identity, grant string
		status                          int // of the token service
		want                            int // of the registry
	}{
		"anonymous, not allowed": {status: 200, want: 401},
		"user":                   {user: "web-user", password: "secret", status: 200, want: 200},
		"user without the right": {user: "other", password: "secret", status: 200, want: 401},
		"everything":             {user: "admin", password: "secret", status: 200, want: 200},
		"wrong password":         {user: "web-user", password: "wrong", status: 401},
		"unknown user":           {user: "nobody", password: "secret", status: 401},
		"identity token":         {identity: "id", grant: "refresh_token", status: 200, want: 200},
		"unknown identity token": {identity: "di", grant: "refresh_token", status: 401},
		"unknown grant":          {grant: "device_code", status: 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, registrytest.WithTokenAuth())
			populate(r)
			req := tokenGET(t, r, "repository:org/app/web:pull")
			if test.user != "" {
				req.SetBasicAuth(test.user, test.password)
			}
			if test.grant != "" {
				req = tokenPOST(t, r, url.Values{"grant_type": {test.grant}, "refresh_token": {test.identity}})
			}
			got := do(t, r, req)
			if got.status != test.status {
				t.Fatalf("token service: %d %s, want %d", got.status, got.body, test.status)
			}
			if test.want == 0 {
				return
			}
			if pulled := pull(t, r, tokenOf(t, got)); pulled.status != test.want {
				t.Errorf("registry: %d %s, want %d", pulled.status, pulled.body, test.want)
			}
		})
	}
}

func TestAnonymousPull(t *testing.T) {
	r := start(t, registrytest.WithTokenAuth())
	populate(r)
	r.AllowAnonymous("org/app/web")
	if got := pull(t, r, ""); got.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got.status)
	}
	granted := tokenOf(t, do(t, r, tokenGET(t, r, "repository:org/app/web:pull")))
	if got := pull(t, r, granted); got.status != http.StatusOK {
		t.Errorf("with an anonymous token: %d", got.status)
	}
}

func TestTokenExpires(t *testing.T) {
	r := start(t, registrytest.WithTokenAuth())
	populate(r)
	req := tokenGET(t, r, "repository:org/app/web:pull")
	req.SetBasicAuth("web-user", "secret")
	granted := tokenOf(t, do(t, r, req))
	r.ExpireTokens()
	got := pull(t, r, granted)
	if challenge := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.Contains(challenge, `error="invalid_token"`) {
		t.Errorf("%d %s", got.status, challenge)
	}
}

func TestBasicAuth(t *testing.T) {
	tests := map[string]struct {
		user, password, path string
		status               int
	}{
		"nobody":            {path: "/v2/", status: 401},
		"user":              {"web-user", "secret", "/v2/org/app/web/manifests/v1", 200},
		"wrong password":    {"web-user", "wrong", "/v2/org/app/web/manifests/v1", 401},
		"without the right": {"other", "secret", "/v2/org/app/web/manifests/v1", 403},
		"ping":              {"other", "secret", "/v2/", 200},
		"public":            {path: "/v2/org/public/manifests/v1", status: 404},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, registrytest.WithBasicAuth())
			populate(r)
			r.AllowAnonymous("org/public")
			req := request(t, http.MethodGet, r.URL()+test.path)
			if test.user != "" {
				req.SetBasicAuth(test.user, test.password)
			}
			got := do(t, r, req)
			if got.status != test.status {
				t.Errorf("%d %s, want %d", got.status, got.body, test.status)
			}
			if challenged := strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic "); challenged != (test.status == 401) {
				t.Errorf("%d with challenge %q", got.status, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRealm(t *testing.T) {
	own := start(t, registrytest.TokenOnOwnServer())
	if strings.HasPrefix(own.Realm(), own.URL()) {
		t.Errorf("realm %s is on the registry's own server", own.Realm())
	}
	const elsewhere = "https://auth.test/token"
	other := start(t, registrytest.WithRealm(elsewhere))
	if challenge := get(t, other, "/v2/").header.Get("WWW-Authenticate"); !strings.Contains(challenge, elsewhere) {
		t.Errorf("challenge %s does not name %s", challenge, elsewhere)
	}
}

func TestWithoutPOST(t *testing.T) {
	r := start(t, registrytest.WithTokenAuth(), registrytest.WithoutPOST(http.StatusMethodNotAllowed))
	populate(r)
	if got := do(t, r, tokenPOST(t, r, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"id"}})); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.status)
	}
	if got := do(t, r, tokenGET(t, r, "repository:org/app/web:pull")); got.status != http.StatusOK {
		t.Errorf("GET: %d", got.status)
	}
}

// populate stores org/app/web:v1 and gives rights to it.
func populate(r *registrytest.Registry) {
	d := r.Image("org/app/web", registrytest.TarLayer(map[string]string{"etc/web": "hello"}))
	r.Tag("org/app/web", "v1", d.Digest)
	r.Allow("web-user", "secret", "org/app/web")
	r.Allow("other", "secret", "org/app")
	r.Allow("admin", "secret", "*")
	r.AllowIdentityToken("id", "org/app/web")
}

func tokenGET(t *testing.T, r *registrytest.Registry, scope string) *http.Request {
	t.Helper()
	return request(t, http.MethodGet, r.Realm()+"?"+url.Values{"scope": {scope}}.Encode())
}

func tokenPOST(t *testing.T, r *registrytest.Registry, form url.Values) *http.Request {
	t.Helper()
	form.Set("scope", "repository:org/app/web:pull")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Realm(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func tokenOf(t *testing.T, a answer) string {
	t.Helper()
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Token == "" {
		t.Fatalf("%d %s is no token", a.status, a.body)
	}
	return got.Token
}

func pull(t *testing.T, r *registrytest.Registry, token string) answer {
	t.Helper()
	req := request(t, http.MethodGet, r.URL()+"/v2/org/app/web/manifests/v1")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, r, req)
}
