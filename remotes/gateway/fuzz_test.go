package gateway

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// FuzzRequest: of whatever path and query, what is served is a repository of a registry that is served, allowed.
func FuzzRequest(f *testing.F) {
	fronttest.AddRequests(f)
	allow, err := ParsePattern("reg.test:5000/org/*")
	if err != nil {
		f.Fatal(err)
	}
	g := New(Options{Mode: Node, Registries: []string{"reg.test:5000"}, Allow: []Pattern{allow}, Credentials: auth.NewStores(auth.StoresOptions{})})
	f.Fuzz(func(t *testing.T, p, query string) {
		q, err := g.parse(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: p, RawQuery: query}, Header: http.Header{}})
		if err != nil || q.Kind() == find.Base {
			return
		}
		name := q.Repository().Name()
		again, err := auth.ParseRepository(q.Repository().String())
		if err != nil || again != q.Repository() || q.Repository().Host() != "reg.test:5000" || path.Clean(name) != name || !strings.HasPrefix(name, "org/") {
			t.Errorf("%q %q: %s, %v", p, query, q.Repository(), err)
		}
	})
}
