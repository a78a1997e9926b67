package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// ask requests a path as it stands, without what the scene adds.
func (s *scene) ask(path string, header ...string) fronttest.Reply {
	s.T.Helper()
	req := fronttest.NewRequest(s.T, http.MethodGet, s.Server.URL+path, "", header...)
	if s.User[0] != "" {
		req.SetBasicAuth(s.User[0], s.User[1])
	}
	return fronttest.Send(s.T, s.Server.Client().Transport, req)
}

// TestRegistryInThePath: clients that send no ns pull a bundle whose registry is the first component of the path, its colon
// written _, in both modes.
func TestRegistryInThePath(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Node, Pod} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := newScene(t, mode)
			if mode == Pod {
				s.User = [2]string{"all", fronttest.Secret}
				s.Registry.Allow("all", fronttest.Secret, "org/app", "org/app/web", "org/app/worker", "org/app/a", "org/app/a/b")
			}
			root := s.Publish()
			at := "/v2/" + strings.ReplaceAll(s.Registry.Host(), ":", "_")
			asked := func(method, path string, header ...string) fronttest.Reply {
				return s.ask(at+strings.TrimPrefix(path, "/v2"), header...)
			}
			if n := s.FetchBy(asked, root); n < 5 {
				t.Errorf("%d manifests and blobs", n)
			}
			s.Registry.ResetLog()
			for _, spelled := range []string{strings.Replace(at, "_", "%5F", 1), strings.Replace(at, "_", "%3A", 1), strings.Replace(at, "_", "%255F", 1), strings.Replace(at, "/v2/", "/v2/%2E/", 1), strings.Replace(at, "/v2/", "/v2%2F", 1), at + "%2Forg"} {
				if got := s.ask(spelled + "/app/tags/list"); got.Status < 400 || s.Registry.Count() > 0 {
					t.Errorf("%s: %+v", spelled, got)
				}
			}
			list := s.ask(at + "/org/app/tags/list?n=1")
			if list.Status != http.StatusOK || list.Header.Get("Oci-Namespace") != "" {
				t.Errorf("%+v", list)
			}
		})
	}
}

// TestPagesInThePath: the link to the next page leads to where the client asked.
func TestPagesInThePath(t *testing.T) {
	t.Parallel()
	s := newScene(t, Node, registrytest.ReferrersInPages(1))
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
	for _, kind := range []string{"application/x-a", "application/x-b", "application/x-c"} {
		s.Registry.Referrer("org/app", image, kind)
	}
	path, pages := "/v2/"+strings.ReplaceAll(s.Registry.Host(), ":", "_")+"/org/app/referrers/"+image.Digest.String(), 0
	for ; path != ""; pages++ {
		got := s.ask(path)
		if got.Status != http.StatusOK || pages > 3 {
			t.Fatalf("page %d, %s: %+v", pages, path, got)
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
	}
	if pages < 3 {
		t.Errorf("%d pages", pages)
	}
}

// TestNamedRegistry: which registry and repository a request is about, by its ns and its path.
func TestNamedRegistry(t *testing.T) {
	t.Parallel()
	g := New(Options{Mode: Node, Registries: []string{"reg.example.com", "reg.example.com:5000", "docker.io", "localhost:5000", "[::1]:5000", "10.0.0.1:80"}})
	t.Cleanup(g.Close)
	for _, test := range []struct {
		ns         []string
		name, want string // "" for an error
	}{
		{nil, "reg.example.com/org/app", "reg.example.com org/app"},
		{nil, "reg.example.com_5000/org/app", "reg.example.com:5000 org/app"},
		{nil, "docker.io/library/nginx", "docker.io library/nginx"},
		{nil, "localhost_5000/app", "localhost:5000 app"},
		{nil, "10.0.0.1_80/app", "10.0.0.1:80 app"},
		{nil, "[__1]_5000/app", "[::1]:5000 app"},
		{nil, "reg.example.com_5000/reg.example.com_5000/app", "reg.example.com:5000 reg.example.com_5000/app"},
		{nil, "reg.example.com_5001/org/app", ""},
		{nil, "reg.example.com__5000/org/app", ""},
		{nil, "reg.example.com_5000", ""},
		{nil, "reg.example.com_5000/", ""},
		{nil, "reg.example.co/org/app", ""},
		{nil, "reg.example.com.evil/org/app", ""},
		{nil, "reg_example.com/org/app", ""},
		{nil, "_/org/app", ""},
		{nil, "_5000/org/app", ""},
		{nil, "reg.example.com_/org/app", ""},
		{nil, "reg.example.com_5000_/org/app", ""},
		{nil, "reg.example.com:5000/org/app", ""},
		{nil, "reg.example.com.5000/org/app", ""},
		{nil, "REG.example.com/org/app", ""},
		{nil, "reg.example.com%5F5000/org/app", ""},
		{nil, "reg_example.com_5000/org/app", ""},
		{nil, "[::1]_5000/app", ""},
		{nil, "__1_5000/app", ""},
		{nil, "docker.io/reg.example.com/org/app", "docker.io reg.example.com/org/app"},
		{nil, "index.docker.io/library/nginx", ""}, // nobody's name for it in a path
		{nil, "registry-1.docker.io/library/nginx", ""},
		{nil, "library/nginx", ""},
		{nil, "org/app", ""},
		{nil, "", ""},
		{[]string{"reg.example.com:5000"}, "org/app", "reg.example.com:5000 org/app"},
		{[]string{"reg.example.com:5000"}, "reg.example.com_5000/org/app", "reg.example.com:5000 org/app"},
		{[]string{"reg.example.com:5000"}, "reg.example.com_5000", "reg.example.com:5000 reg.example.com_5000"},
		{[]string{"reg.example.com"}, "reg.example.com/org/app", "reg.example.com org/app"},
		{[]string{"reg.example.com"}, "docker.io/library/nginx", "reg.example.com docker.io/library/nginx"}, // of a proxy
		{[]string{"reg.example.com"}, "reg.example.com_5000/org/app", ""},
		{[]string{"docker.io"}, "localhost_5000/app", ""},
		{[]string{"docker.io"}, "docker.io/library/nginx", "docker.io library/nginx"},
		{[]string{"index.docker.io"}, "docker.io/library/nginx", ""},
		{[]string{"reg.example.com:5000"}, "reg.example.com:5000/org/app", ""},
		{[]string{"reg.example.com:5000"}, "REG.example.com_5000/org/app", ""},
		{[]string{"REG.example.com:5000"}, "reg.example.com_5000/org/app", ""},
		{[]string{"reg.example.com"}, "reg.example.com_5001/org/app", "reg.example.com reg.example.com_5001/org/app"}, // no registry here
		{[]string{"[::1]:5000"}, "[__1]_5000/app", "[::1]:5000 app"},
		{[]string{"elsewhere.example.com"}, "reg.example.com_5000/org/app", ""},
		{[]string{"elsewhere.example.com"}, "org/app", ""},
		{[]string{"reg.example.com_5000"}, "org/app", ""},
		{[]string{"reg.example.com", "reg.example.com"}, "reg.example.com/org/app", ""},
		{[]string{""}, "reg.example.com/org/app", ""},
	} {
		got := ""
		registry, name, err := g.named(test.ns, test.name)
		if err == nil {
			if _, err = g.served(registry, name); err == nil {
				got = registry + " " + name
			}
		}
		if got != test.want {
			t.Errorf("ns %q, %s: %q, %v", test.ns, test.name, got, err)
		}
	}
}

// TestBaseAsksForCredentials: where each pod shows its own credential, the base of the API asks for one, since clients
// that name the registry in the path look for challenges nowhere else.
func TestBaseAsksForCredentials(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Mode]int{Node: http.StatusOK, Pod: http.StatusUnauthorized} {
		s := newScene(t, mode)
		if got := s.ask("/v2/"); got.Status != want || (want == http.StatusUnauthorized) != strings.HasPrefix(got.Header.Get("Www-Authenticate"), "Basic ") {
			t.Errorf("%v: %+v", mode, got)
		}
		s.User = [2]string{"anybody", "x"}
		if got := s.ask("/v2/"); got.Status != http.StatusOK {
			t.Errorf("%v, with a credential: %+v", mode, got)
		}
	}
}
