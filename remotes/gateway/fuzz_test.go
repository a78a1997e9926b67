package gateway

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport"
)

// FuzzRequest: of whatever path and query, what is served is a repository of a registry that is served, allowed.
func FuzzRequest(f *testing.F) {
	const d = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, s := range [][2]string{
		{"/v2/", ""}, {"/v2/org/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/blobs/" + d, "ns=reg.test:5000"}, {"/v2/org/app/tags/list", "ns=reg.test:5000&n=1"},
		{"/v2/org/app/referrers/" + d, "ns=reg.test:5000&artifactType=x"}, {"/v2/org/../victim/manifests/v1", "ns=reg.test:5000"}, {"/v2//manifests/v1", "ns=reg.test:5000"},
		{"/v2/org%2f..%2fvictim/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/v1", "ns=evil.test"},
		{"/v2/org/app/manifests/v1", "ns=reg.test:5000&ns=evil.test"}, {"/v2/org/app/manifests/v1", "ns=REG.TEST:5000"}, {"/v2/org/app/blobs/sha256:../../x", "ns=reg.test:5000"},
		{"/evil/v2/org/app/manifests/x", "ns=reg.test:5000"}, {"/v2/other/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/manifests/v1", "ns=reg.test:5000"}, {"/v2/tags/list", "ns=reg.test:5000"},
	} {
		f.Add(s[0], s[1])
	}
	allow, err := ParsePattern("reg.test:5000/org/*")
	if err != nil {
		f.Fatal(err)
	}
	g := New(Options{Mode: Node, Registries: []string{"reg.test:5000"}, Allow: []Pattern{allow}, Credentials: auth.NewStores(auth.StoresOptions{})})
	f.Fuzz(func(t *testing.T, p, query string) {
		q, err := g.parse(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: p, RawQuery: query}, Header: http.Header{}})
		if err != nil || q.Kind() == transport.Base {
			return
		}
		name := q.Repository().Name()
		again, err := auth.ParseRepository(q.Repository().String())
		if err != nil || again != q.Repository() || q.Repository().Host() != "reg.test:5000" || path.Clean(name) != name || !strings.HasPrefix(name, "org/") {
			t.Errorf("%q %q: %s, %v", p, query, q.Repository(), err)
		}
	})
}
