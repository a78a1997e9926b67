package registrytest_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestLedger: each breach is found, and nothing else.
func TestLedger(t *testing.T) {
	other, forbidden := start(t), start(t)
	for name, test := range map[string]struct {
		ask  func(r *registrytest.Registry, token string)
		want string // what the one breach says; nothing for none
	}{
		"as it should be": {func(r *registrytest.Registry, token string) { pull(t, r, token) }, ""},
		"another repository": {func(r *registrytest.Registry, token string) {
			get(t, r, "/v2/org/apple/manifests/v1")
		}, "outside the parents"},
		"no path of the specification":   {func(r *registrytest.Registry, _ string) { get(t, r, "/v2/org/app/../x") }, "no request of the specification"},
		"a host that is not to be asked": {func(*registrytest.Registry, string) { get(t, forbidden, "/v2/") }, "must not be contacted"},
		"a token elsewhere":              {func(_ *registrytest.Registry, token string) { pull(t, other, token) }, "a token of"},
		"a token for another repository": {func(r *registrytest.Registry, token string) {
			req := request(t, http.MethodGet, r.URL()+"/v2/org/app/manifests/v1")
			req.Header.Set("Authorization", "Bearer "+token)
			do(t, r, req)
		}, `a token for ["repository:org/app/web:pull"]`},
		"a secret where it does not belong": {func(r *registrytest.Registry, _ string) {
			req := request(t, http.MethodGet, r.URL()+"/v2/org/app/manifests/v1")
			req.SetBasicAuth("web-user", "canary-of-web")
			do(t, r, req)
		}, `the secret "canary-of-web"`},
		"a secret elsewhere": {func(*registrytest.Registry, string) { get(t, other, "/v2/?x=canary-of-web") }, `the secret "canary-of-web"`},
		"several scopes": {func(r *registrytest.Registry, _ string) {
			do(t, r, tokenGET(t, r, "repository:a:pull repository:b:pull"))
		}, "scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, registrytest.WithTokenAuth())
			other.ResetLog()
			forbidden.ResetLog()
			r.Allow("web-user", "canary-of-web", "org/app/web")
			l := registrytest.NewLedger("org/app")
			l.Expect(r)
			l.Expect(other)
			l.Avoid(forbidden)
			l.Show("canary-of-web", r, registrytest.Of(registrytest.KindToken))
			req := tokenGET(t, r, "repository:org/app/web:pull")
			req.SetBasicAuth("web-user", "canary-of-web")
			token := tokenOf(t, do(t, r, req))
			test.ask(r, token)
			got := l.Breaches()
			if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for text, want := range map[string]int{"nothing": 0, "a canary-of-web": 1, "Basic " + base64.StdEncoding.EncodeToString([]byte("web-user:canary-of-web")): 1,
				base64.StdEncoding.EncodeToString([]byte("x:canary-of-web, y")): 1, token: 1} {
				if shown := l.Shown(text); len(shown) != want {
					t.Errorf("%q shows %q", text, shown)
				}
			}
		})
	}
}
