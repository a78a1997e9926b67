package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestSkipVerify: it covers what else is on the registry's host, and where
// blobs are.
func TestSkipVerify(t *testing.T) {
	cdn := clienttest.NewRegistry(t, registrytest.WithTLS())
	reg, credentials := privateRegistry(t, registrytest.WithTLS(), registrytest.TokenOnOwnServer())
	member := clienttest.PutBundle(reg, parent)
	member.BlobsIn(cdn, parent+"/web")
	reg.Intercept(registrytest.Redirect(strings.Replace(cdn.URL(), "127.0.0.1", "localhost", 1), registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    clienttest.HostsDir(t, reg.Host(), fmt.Sprintf("[host.%q]\nskip_verify = true\n", reg.URL())),
		Credentials: credentials,
	}))
	clienttest.WantLog(t, cdn, member.Blobs(parent+"/web"))
}

func TestRegistryOverTLSIsPulledFrom(t *testing.T) {
	reg, credentials := privateRegistry(t, registrytest.WithTLS())
	member := clienttest.PutBundle(reg, parent)
	named := "[host.%q]\nca = %q\n"
	clienttest.NoError(t, pullFrom(t, reg.Host(), registry.Options{
		HostsDir:    clienttest.HostsDir(t, reg.Host(), fmt.Sprintf(named, reg.URL(), clienttest.File(t, reg.CA()))),
		Credentials: credentials,
	}))
	clienttest.WantLog(t, reg, clienttest.TagGet(parent), member.All(parent+"/web"))
	t.Run("another CA", func(t *testing.T) {
		reg.ResetLog()
		other := clienttest.NewRegistry(t, registrytest.WithTLS())
		clienttest.WantError(t, pullFrom(t, reg.Host(), registry.Options{
			HostsDir: clienttest.HostsDir(t, reg.Host(), fmt.Sprintf(named, reg.URL(), clienttest.File(t, other.CA()))),
		}), "certificate")
		clienttest.WantLog(t, reg)
	})
}

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

// wantsCertificate starts a server that talks to nobody without a client certificate, and asks another one.
func wantsCertificate(t *testing.T, server string) *httptest.Server {
	t.Helper()
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(clienttest.Must(url.Parse(server))))
	front.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	front.StartTLS()
	t.Cleanup(func() {
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // of the reverse proxy
	})
	return front
}

// TestClientCertificate: a registry that asks for one gets it, and so does its token service elsewhere; what it
// redirects to does not.
func TestClientCertificate(t *testing.T) {
	var realm *httptest.Server
	reg, _ := privateRegistry(t)
	realm = wantsCertificate(t, reg.URL())
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); q.Kind == registrytest.KindToken || q.Authorization != "" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registrytest"`, realm.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	clienttest.PutBundle(reg, parent)
	front := wantsCertificate(t, reg.URL())

	host := strings.TrimPrefix(front.URL, "https://")
	key := clienttest.Must(x509.MarshalPKCS8PrivateKey(front.TLS.Certificates[0].PrivateKey))
	file := clienttest.File(t, slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	toml := fmt.Sprintf("[host.%q]\nskip_verify = true\n", front.URL)
	pullWith := func(toml string) error {
		return pullFrom(t, host, registry.Options{
			HostsDir: clienttest.HostsDir(t, host, toml), Credentials: clienttest.UserPassword(t, host, "all", "secret"), Realms: []string{"127.0.0.1"},
		})
	}
	clienttest.WantError(t, pullWith(toml), "certificate required")
	toml += fmt.Sprintf("client = %q\n", file)
	clienttest.NoError(t, pullWith(toml))
	reg.Intercept(registrytest.Redirect(realm.URL, registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
	clienttest.WantError(t, pullWith(toml), "certificate required")
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
	registries := registry.New(options)
	defer registries.CloseIdleConnections()
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

// TestSignedURLs: what a redirect has in its query is in no error.
func TestSignedURLs(t *testing.T) {
	reg, credentials := privateRegistry(t)
	clienttest.PutBundle(reg, parent)
	cdn := clienttest.NewRegistry(t)
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		if q.Kind != registrytest.KindBlob || q.Authorization == "" {
			return false
		}
		http.Redirect(w, req, cdn.URL()+q.Path+"?signature=secret", http.StatusTemporaryRedirect)
		return true
	})
	for name, fault := range map[string]registrytest.Interceptor{
		"forbidden": registrytest.Answer(http.StatusForbidden, nil),
		"reset":     registrytest.Reset(),
	} {
		t.Run(name, func(t *testing.T) {
			cdn.ResetIntercepts()
			cdn.Intercept(fault)
			err := pullFrom(t, reg.Host(), registry.Options{PlainHTTP: true, Credentials: credentials})
			clienttest.WantError(t, err)
		})
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
	registries := registry.New(registry.Options{PlainHTTP: true, Credentials: credentials})
	t.Cleanup(registries.CloseIdleConnections)
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
		registries := registry.New(registry.Options{HostsDir: filepath.Dir(hosts), PlainHTTP: true, Lenient: lenient})
		t.Cleanup(registries.CloseIdleConnections)
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
	registries := registry.New(registry.Options{
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
	t.Cleanup(registries.CloseIdleConnections)
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

// TestNoWay: why a registry is not reached is told, with its name and the repository's, and each reason is another.
func TestNoWay(t *testing.T) {
	secure := clienttest.NewRegistry(t, registrytest.WithTLS())
	ended := clienttest.NewRegistry(t, registrytest.WithExpiredTLS())
	closed := registrytest.New()
	closed.Close()
	trusted := func(r *registrytest.Registry, host string) string {
		return fmt.Sprintf("server = \"https://%s\"\n[host.\"https://%s\"]\nca = %q\n", host, host, clienttest.File(t, r.CA()))
	}
	localhost := strings.Replace(secure.Host(), "127.0.0.1", "localhost", 1)
	for name, test := range map[string]struct {
		host, toml, want string
		typed            any // for errors.As
	}{
		"no such name":        {"nowhere.invalid:443", "server = \"https://nowhere.invalid:443\"\n", "nowhere.invalid", new(*net.DNSError)},
		"refused":             {closed.Host(), "server = \"http://" + closed.Host() + "\"\n", "connection refused", new(syscall.Errno)},
		"unknown CA":          {secure.Host(), trusted(ended, secure.Host()), "unknown authority", new(x509.UnknownAuthorityError)},
		"ended":               {ended.Host(), trusted(ended, ended.Host()), "expired", new(x509.CertificateInvalidError)},
		"name of another one": {localhost, trusted(secure, localhost), "valid for", new(x509.HostnameError)},
	} {
		t.Run(name, func(t *testing.T) {
			err := pullFrom(t, test.host, registry.Options{HostsDir: clienttest.HostsDir(t, test.host, test.toml)})
			clienttest.WantError(t, err, test.want, test.host)
			if !strings.Contains(err.Error(), parent) {
				t.Errorf("error %q does not name the repository", err)
			}
			if !errors.As(err, test.typed) {
				t.Errorf("error %q is no %T", err, test.typed)
			}
		})
	}
	clienttest.WantLog(t, secure)
	clienttest.WantLog(t, ended)
}
