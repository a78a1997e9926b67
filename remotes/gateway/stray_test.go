package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
)

// TestCredentialsStayWithTheFront: before a registry whose host redirects everything to another that asks for tokens, what the caller shows, or
// the node holds for the first, stays with the first.
func TestCredentialsStayWithTheFront(t *testing.T) {
	for _, mode := range []Mode{Node, Pod} {
		s := newScene(t, mode)
		root := s.Publish()
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, s.Registry.URL()+req.URL.Path, http.StatusTemporaryRedirect)
		}))
		t.Cleanup(front.Close)
		host := strings.TrimPrefix(front.URL, "http://")
		s.options.Registries, s.options.HostsDir = []string{host}, clienttest.PlainHTTP(t, host)
		credentials := auth.Sources{fronttest.PerRepository(t, s.Registry), auth.NewStores(auth.StoresOptions{Inline: auth.Secret(`{"auths":{"` + host + `":{"username":"first","password":"canary-of-the-first"}}}`)})}
		s.options.Credentials = credentials
		if mode == Pod {
			s.User = [2]string{"first", "canary-of-the-first"}
			s.Registry.AllowAnonymous("org/app", "org/app/web", "org/app/a", "org/app/a/b")
		}
		s.start(filepath.Join(t.TempDir(), "locations"))
		s.RegistryName = host
		if got := s.Pull("v1"); got != root.Digest {
			t.Errorf("%s", got)
		}
		for _, q := range s.Registry.Log() {
			if q.User == "first" || strings.Contains(q.Form.Encode()+q.Authorization, "canary-of-the-first") {
				t.Errorf("the first host's credential went to the other: %s", q)
			}
		}
	}
}

// TestFrontLeadsNoFurther: who redirects does not get clients past the list of what is allowed, with the node's credentials.
func TestFrontLeadsNoFurther(t *testing.T) {
	for name, test := range map[string]struct {
		allow  []string
		status int
	}{
		"no list":             {nil, http.StatusOK},
		"what is allowed":     {[]string{"FRONT/org/app", "OTHER/secret"}, http.StatusOK},
		"what is not allowed": {[]string{"FRONT/org/app"}, http.StatusForbidden},
		"another repository":  {[]string{"FRONT/**", "OTHER/org/app"}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Node)
			hidden := s.Registry.Image("secret/app", registrytest.TarLayer(map[string]string{"a": "b"}))
			s.Registry.Tag("secret/app", "v1", hidden.Digest)
			s.Registry.Allow("user of secret/app", fronttest.Secret, "secret/app")
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				http.Redirect(w, req, s.Registry.URL()+strings.Replace(req.URL.Path, "org/app", "secret/app", 1), http.StatusTemporaryRedirect)
			}))
			t.Cleanup(front.Close)
			s.RegistryName = strings.TrimPrefix(front.URL, "http://")
			s.options.Credentials = auth.NewStores(auth.StoresOptions{Inline: auth.Secret(fmt.Sprintf(`{"auths":{"%s/secret/app":{"username":"user of secret/app","password":"%s"}}}`, s.Registry.Host(), fronttest.Secret))})
			s.options.Registries, s.options.HostsDir = []string{s.RegistryName}, clienttest.PlainHTTP(t, s.RegistryName)
			for _, text := range test.allow {
				pattern, err := ParsePattern(strings.NewReplacer("FRONT", s.RegistryName, "OTHER", s.Registry.Host()).Replace(text))
				if err != nil {
					t.Fatal(err)
				}
				s.options.Allow = append(s.options.Allow, pattern)
			}
			s.start(filepath.Join(t.TempDir(), "locations"))
			for _, path := range []string{"manifests/v1", "manifests/" + hidden.Digest.String()} {
				for _, method := range []string{http.MethodHead, http.MethodGet} {
					got := s.Do(method, "/v2/org/app/"+path)
					if got.Status != test.status || got.Status != http.StatusOK && method == http.MethodGet && !strings.Contains(got.Body, "allow in the gateway's configuration does not name it") {
						t.Errorf("%s %s: %d %s", method, path, got.Status, got.Body)
					}
				}
			}
			if shown := s.Registry.Log(func(q registrytest.Request) bool { return q.User != "" }); len(shown) > 0 != (test.status == http.StatusOK) {
				t.Errorf("the node's credential was shown: %v", shown)
			}
		})
	}
}
