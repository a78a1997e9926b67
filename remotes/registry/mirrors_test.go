package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestMirrorIsAskedWithItsOwnToken: a mirror is asked in the registry's place, each repository
// with a token of the mirror for the name that it has there.
func TestMirrorIsAskedWithItsOwnToken(t *testing.T) {
	for name, prefix := range map[string]string{"plain": "", "below a path": "proxy/hub/"} {
		t.Run(name, func(t *testing.T) {
			reg, mirror := clienttest.NewRegistry(t), clienttest.NewRegistry(t, registrytest.WithTokenAuth())
			mirror.Allow("of-parent", "p1", prefix+parent)
			mirror.Allow("of-web", "p2", prefix+parent+"/web")
			member := clienttest.PutBundle(mirror, prefix+parent)
			dir := clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("server = %q\n[host.%q]\noverride_path = true\n",
				reg.URL(), strings.TrimSuffix(mirror.URL()+"/v2/"+prefix, "/")))
			clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
				HostsDir: dir,
				Credentials: clienttest.Stores(t, object{"auths": object{
					mirror.Host() + "/" + prefix + parent:          clienttest.Entry("of-parent", "p1"),
					mirror.Host() + "/" + prefix + parent + "/web": clienttest.Entry("of-web", "p2"),
					reg.Host(): clienttest.Entry("of-registry", "p3"),
				}}),
			}))
			clienttest.WantLog(t, mirror, clienttest.TagGet(prefix+parent), member.All(prefix+parent+"/web"))
			clienttest.WantLog(t, reg)
			for _, q := range mirror.Log(registrytest.WithCredentials) {
				if q.Kind != registrytest.KindToken && (q.Query != "ns="+url.QueryEscape(reg.Host()) || len(q.Scopes) != 1 || q.Scopes[0] != "repository:"+q.Repository+":pull") {
					t.Errorf("asked for %s?%s with a token for %q", q.Path, q.Query, q.Scopes)
				}
			}
		})
	}
}

// TestMirrorOfOtherNames: a mirror with an API root of its own says in its
// challenges what its repositories are called; each still gets a token of its
// own.
func TestMirrorOfOtherNames(t *testing.T) {
	reg, mirror := clienttest.NewRegistry(t), clienttest.NewRegistry(t, registrytest.WithTokenAuth())
	mirror.Allow("all", "secret", "*")
	member := clienttest.PutBundle(mirror, "remote/"+parent)
	root := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(clienttest.Must(url.Parse(mirror.URL())))
		r.Out.URL.Path = "/v2/remote/" + strings.TrimPrefix(r.In.URL.Path, "/cache/")
	}})
	defer root.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections() // of the reverse proxy
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("server = %q\n[host.%q]\noverride_path = true\n", reg.URL(), root.URL+"/cache")),
		Credentials: clienttest.UserPassword(t, strings.TrimPrefix(root.URL, "http://"), "all", "secret"),
	}))
	clienttest.WantLog(t, mirror, clienttest.TagGet("remote/"+parent), member.All("remote/"+parent+"/web"))
	clienttest.WantLog(t, reg)
	var scopes []string
	for _, q := range mirror.Log(registrytest.Of(registrytest.KindToken)) {
		scopes = append(scopes, q.Scopes...)
	}
	if want := []string{"repository:remote/" + parent + ":pull", "repository:remote/" + parent + "/web:pull"}; !slices.Equal(scopes, want) {
		t.Errorf("tokens for %q, want %q", scopes, want)
	}
}

// TestMirrorWithoutTheMember: what a mirror lacks the registry has.
func TestMirrorWithoutTheMember(t *testing.T) {
	reg, mirror := clienttest.NewRegistry(t), clienttest.NewRegistry(t)
	member := clienttest.PutBundle(reg, parent)
	mirror.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")), "v1")
	dir := clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("server = %q\n[host.%q]\n", reg.URL(), mirror.URL()))
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{HostsDir: dir}))
	clienttest.WantLog(t, mirror, clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 404, member.Descriptor), clienttest.Gets(parent+"/web", 404, member.Parts()...))
	clienttest.WantLog(t, reg, member.All(parent+"/web"))
}
