package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestUnreadableHosts: containerd goes on without a hosts.toml that it cannot
// read; here it is an error.
func TestUnreadableHosts(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	clienttest.PutBundle(reg, parent)
	for _, toml := range []string{"server = ", "[host.\"http://mirror\"]\ncapabilities = [\"pul\"]\n", "[host.\"http://mirror\"]\nca = 7\n"} {
		options := registry.Options{PlainHTTP: true, HostsDir: clienttest.HostsDir(t, reg.Host(), toml)}
		clienttest.WantError(t, pullFrom(t, reg.Host(), options), reg.Host(), "hosts.toml")
		clienttest.WantLog(t, reg)
	}
}

// TestRedirectsAndHeaders: what a registry redirects to gets neither the
// token nor the headers that are meant for the registry. The token service gets
// them, as from containerd.
func TestRedirectsAndHeaders(t *testing.T) {
	cdn := clienttest.NewRegistry(t)
	reg, credentials := privateRegistry(t, registrytest.TokenOnOwnServer())
	member := clienttest.PutBundle(reg, parent)
	member.BlobsIn(cdn, parent+"/web")
	reg.Intercept(registrytest.Redirect(cdn.URL(), registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
	dir := clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("[host.%q]\n[host.%q.header]\nX-Custom = \"canary\"\n", reg.URL(), reg.URL()))
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    dir,
		Credentials: credentials,
	}))
	clienttest.WantLog(t, cdn, member.Blobs(parent+"/web"))
	for _, q := range cdn.Log() {
		if q.Authorization != "" || q.Header.Get("X-Custom") != "" || q.Header.Get("Referer") != "" {
			t.Errorf("the redirect's target got %v", q.Header)
		}
	}
	for _, q := range reg.Log() {
		if got := q.Header["X-Custom"]; len(got) != 1 {
			t.Errorf("%s with X-Custom %q", q, got)
		}
	}
}

// TestOtherScope: a front that rewrites paths, whose tokens have other names for repositories; each has its own.
func TestOtherScope(t *testing.T) {
	reg := clienttest.NewRegistry(t, registrytest.WithTokenAuth())
	reg.Allow("web", "secret", parent+"/web", "back/"+parent+"/web")
	reg.Allow("all", "secret", parent, "back/"+parent)
	clienttest.PutBundle(reg, "back/"+parent)
	plain := clienttest.NewImage("plain", "layer").In(reg, "back/"+parent)
	reg.Tag("back/"+parent, "plain", plain.Digest)
	reg.Intercept(registrytest.Prefixed("back"))
	at := reg.Host() + "/" + parent
	options := registry.Options{PlainHTTP: true, Credentials: clienttest.Stores(t, object{"auths": object{
		at: clienttest.Entry("all", "secret"), at + "/web": clienttest.Entry("web", "secret"),
	}})}
	clienttest.NoError(t, pullFrom(t, reg.Host(), options))
	registries := clienttest.NewClient(t, options)
	_, err := clienttest.Pull(nested.New(registries, nested.Options{}), clienttest.NewStore(t), at+":plain")
	clienttest.NoError(t, err)
	want := map[string]int{
		parent + " all": 2, "back/" + parent + " all": 2, // in two pulls
		parent + "/web web": 1, "back/" + parent + "/web web": 1,
	}
	for _, q := range reg.Log() {
		if q.Kind == registrytest.KindToken {
			want[strings.TrimSuffix(strings.TrimPrefix(q.Scopes[0], "repository:"), ":pull")+" "+q.User]--
		}
	}
	for asked, n := range want {
		if n != 0 {
			t.Errorf("%s: %d token requests too few", asked, n)
		}
	}
}

// TestLocalhost: a registry on this machine may speak http without being
// configured, as for containerd.
func TestLocalhost(t *testing.T) {
	reg, credentials := privateRegistry(t)
	member := clienttest.PutBundle(reg, parent)
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{Credentials: credentials}))
	clienttest.WantLog(t, reg, clienttest.TagGet(parent), member.All(parent+"/web"))
}

// proxyTest marks the process that pulls through a proxy.
const proxyTest = "NESTED_TEST_PULL_THROUGH_PROXY"

// TestProxyOfTheEnvironmentIsUsed: proxies are those of the environment, which Go reads once: the
// pull runs in a process of its own.
func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	const host = "registry.test"
	if os.Getenv(proxyTest) != "" {
		clienttest.NoError(t, pullFrom(t, host, registry.Options{PlainHTTP: true, Credentials: clienttest.UserPassword(t, host, "all", "secret")}))
		return
	}
	reg, _ := privateRegistry(t, registrytest.WithRealm("http://"+host+"/token"))
	member := clienttest.PutBundle(reg, parent)
	to := clienttest.Must(url.Parse(reg.URL()))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Host = to.Host
		r.Out.Host = r.In.Host
	}})
	defer proxy.Close()
	cmd := exec.Command(clienttest.Must(os.Executable()), "-test.run=^TestProxyOfTheEnvironmentIsUsed$")
	cmd.Env = append(os.Environ(), proxyTest+"=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	clienttest.WantLog(t, reg, clienttest.TagGet(parent), member.All(parent+"/web"))
	for _, q := range reg.Log() {
		if q.Host != host {
			t.Errorf("asked for %s on %s", q.Path, q.Host)
		}
	}
}

// TestPreparedTokenIsAskedForOnce: a token that was asked for ahead is not asked for again, and nothing is asked of a registry that has
// not said that it wants one.
func TestPreparedTokenIsAskedForOnce(t *testing.T) {
	reg, credentials := privateRegistry(t)
	content := clienttest.PutImage(reg, parent+"/web", "layer")
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: credentials})
	child := clienttest.Repository(t, reg.Host()+"/"+parent+"/web")
	registries.Prepare(t.Context(), child)
	if log := reg.Log(); len(log) > 0 {
		t.Errorf("asked %v", log)
	}
	if _, _, err := registries.Resolve(t.Context(), reg.Host()+"/"+parent+"/web@"+content.Digest.String()); err != nil {
		t.Fatal(err)
	}
	other := clienttest.Repository(t, reg.Host()+"/"+parent+"/other")
	reg.ResetLog()
	registries.Prepare(t.Context(), other)
	registries.Prepare(t.Context(), other)
	if got := reg.Log(); len(got) != 1 || got[0].Kind != registrytest.KindToken {
		t.Errorf("asked %v", got)
	}
}

// TestUnreadableHostsArePassedOver: a hosts.toml that cannot be read is passed over, as containerd does, or else an error.
func TestUnreadableHostsArePassedOver(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	content := clienttest.PutImage(reg, parent, "layer")
	hosts := filepath.Join(t.TempDir(), reg.Host())
	clienttest.NoError(t, os.Mkdir(hosts, 0o700))
	clienttest.NoError(t, os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte("server = ["), 0o600))
	for _, lenient := range []bool{false, true} {
		registries := clienttest.NewClient(t, registry.Options{HostsDir: filepath.Dir(hosts), PlainHTTP: true, Lenient: lenient})
		_, _, err := registries.Resolve(t.Context(), reg.Host()+"/"+parent+"@"+content.Digest.String())
		if lenient != (err == nil) {
			t.Errorf("lenient %t: %v", lenient, err)
		}
	}
}

// TestClientAndHeader: a program sees each client, and adds headers to requests for content.
func TestClientAndHeader(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	content := clienttest.PutImage(reg, parent, "layer")
	var seen []string
	registries := clienttest.NewClient(t, registry.Options{
		PlainHTTP: true,
		Header:    http.Header{"X-Team": {"blue"}},
		UpdateClient: func(c *http.Client) error {
			next := c.Transport
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				seen = append(seen, r.Header.Get("X-Team"))
				return next.RoundTrip(r)
			})
			return nil
		},
	})
	if _, _, err := registries.Resolve(t.Context(), reg.Host()+"/"+parent+"@"+content.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 || seen[0] != "blue" {
		t.Errorf("seen %q", seen)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPoliteConnections: a bundle of 60 members, asked for all at once, costs a registry that speaks HTTP/1.1 alone a bounded
// number of connections: those for small content, and as many for large.
func TestPoliteConnections(t *testing.T) {
	reg, credentials := privateRegistry(t)
	var members []ocispec.Descriptor
	large := strings.Repeat("0123456789", 40_000)
	for i := range 60 {
		name := fmt.Sprintf("m%d", i)
		members = append(members, registrytest.Member(clienttest.PutImage(reg, parent+"/"+name, name, name+large).Descriptor, name))
	}
	reg.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(members...), "v1")
	reg.Intercept(reg.Delay(20 * time.Millisecond))
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{PlainHTTP: true, Credentials: credentials}))
	if n := reg.Connections(); n <= auth.DefaultConnections || n > 2*auth.DefaultConnections {
		t.Errorf("%d connections", n)
	}
}
