package auth

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/registrytest"
)

// Where a token endpoint may be. What a name resolves to is judged when it is
// dialled; see TestJudge.
func TestRealmPolicy(t *testing.T) {
	t.Parallel()
	const (
		notURL      = "not an http or https URL"
		notHTTPS    = "it is not https, while the registry is"
		notPublic   = "its address is not public"
		notAddress  = "its host is a number that is not an IP address"
		notListed   = "not one of the realms that the configuration allows"
		publicHTTPS = "https://reg.test"
	)
	for _, test := range []struct {
		registry string
		realms   []string
		realm    string
		want     string // "" is allowed
	}{
		// By default: the registry's own server and anything public.
		{publicHTTPS, nil, "https://reg.test/token", ""},
		{publicHTTPS, nil, "https://reg.test:443/token", ""},
		{publicHTTPS, nil, "https://REG.test/token", ""},
		{publicHTTPS, nil, "https://reg.test:8443/token", ""},
		{publicHTTPS, nil, "https://auth.reg.test/token", ""},
		{publicHTTPS, nil, "https://auth.docker.io/token", ""},
		{publicHTTPS, nil, "https://93.184.216.34/token", ""},

		// Not https, no URL, a user in it.
		{publicHTTPS, nil, "http://reg.test/token", notHTTPS},
		{publicHTTPS, nil, "http://reg.test:443/token", notHTTPS},
		{publicHTTPS, nil, "http://auth.test/token", notHTTPS},
		{publicHTTPS, []string{"auth.test"}, "http://auth.test/token", notHTTPS},
		{publicHTTPS, nil, "file:///etc/passwd", notURL},
		{publicHTTPS, nil, "ftp://reg.test/token", notURL},
		{publicHTTPS, nil, "/token", notURL},
		{publicHTTPS, nil, "reg.test/token", notURL},
		{publicHTTPS, nil, "https:///token", notURL},
		{publicHTTPS, nil, "", notURL},
		{publicHTTPS, nil, "https://reg.test/\x00", "not a URL"},
		{publicHTTPS, nil, "https://user:pass@reg.test/token", "it contains a user name"},
		{publicHTTPS, nil, "https://reg.test@evil.test/token", "it contains a user name"},

		// Addresses that are not public.
		{publicHTTPS, nil, "https://10.0.0.1/token", notPublic},
		{publicHTTPS, nil, "https://192.168.1.1/token", notPublic},
		{publicHTTPS, nil, "https://100.64.0.1/token", notPublic},
		{publicHTTPS, nil, "https://[fd00::1]/token", notPublic},
		{publicHTTPS, nil, "https://127.0.0.1/token", notPublic},
		{publicHTTPS, nil, "https://[::1]/token", notPublic},
		{publicHTTPS, nil, "https://[::ffff:127.0.0.1]/token", notPublic},
		{publicHTTPS, nil, "https://0.0.0.0/token", notPublic},
		{publicHTTPS, nil, "https://169.254.169.254/token", notPublic},
		{publicHTTPS, nil, "https://[fe80::1]/token", notPublic},
		{publicHTTPS, nil, "https://224.0.0.1/token", notPublic},
		{publicHTTPS, nil, "https://localhost/token", notPublic},
		{publicHTTPS, nil, "https://x.LOCALHOST./token", notPublic},
		{publicHTTPS, nil, "https://[64:ff9b::10.0.0.1]/token", notPublic},
		{publicHTTPS, nil, "https://[fe80::1%25eth0]/token", notPublic},
		{publicHTTPS, nil, "https://[::1%25lo]/token", notPublic},

		// Numbers that some take for addresses.
		{publicHTTPS, nil, "https://2130706433/token", notAddress},
		{publicHTTPS, nil, "https://0x7f.1/token", notAddress},
		{publicHTTPS, nil, "https://0177.0.0.1/token", notAddress},
		{publicHTTPS, nil, "https://127.1./token", notAddress},
		{publicHTTPS, nil, "https://169.254.169.254./token", notAddress},
		{publicHTTPS, nil, "https://metadata.0X1/token", notAddress},
		{publicHTTPS, nil, "https://%EF%BC%91%EF%BC%92%EF%BC%97.1/token", notAddress}, // full-width digits
		{publicHTTPS, nil, "https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1/token", notPublic},
		{publicHTTPS, nil, "https://127%2e1/token", "not a URL"},
		{"https://93.184.216.34", nil, "https://127.0.0.1/token", notPublic},
		{"https://93.184.216.34", nil, "https://10.0.0.1/token", notPublic},

		// Beside the registry.
		{"http://127.0.0.1:5000", nil, "http://127.0.0.1:5001/token", ""},
		{"http://127.0.0.1:5000", nil, "http://[::1]:5001/token", ""},
		{"http://127.0.0.1:5000", nil, "https://auth.test/token", ""},
		{"http://127.0.0.1:5000", nil, "http://10.0.0.1/token", ""},
		{"http://10.0.0.2:5000", nil, "http://10.0.0.1/token", ""},
		{"http://10.0.0.2:5000", nil, "http://127.0.0.1/token", notPublic},
		{"http://127.0.0.1:5000", nil, "http://169.254.169.254/token", notPublic},
		{"https://169.254.1.1", nil, "https://169.254.169.254/token", notPublic},
		{"https://169.254.1.1", nil, "https://169.254.1.1/token", ""},

		// A list narrows and widens.
		{publicHTTPS, []string{"auth.test"}, "https://reg.test/token", ""},
		{publicHTTPS, []string{"auth.test"}, "https://auth.test/token", ""},
		{publicHTTPS, []string{"auth.test"}, "https://auth.test:8443/token", ""},
		{publicHTTPS, []string{"auth.test:8443"}, "https://auth.test:8443/token", ""},
		{publicHTTPS, []string{"auth.test:8443"}, "https://auth.test/token", notListed},
		{publicHTTPS, []string{"auth.test"}, "https://evil.test/token", notListed},
		{publicHTTPS, []string{"auth.test"}, "https://x.auth.test/token", notListed},
		{publicHTTPS, []string{"10.0.0.1"}, "https://10.0.0.1/token", ""},
		{publicHTTPS, []string{"10.0.0.1"}, "https://10.0.0.2/token", notListed},
		{publicHTTPS, []string{"Auth.test"}, "https://AUTH.test/token", ""},
		{publicHTTPS, []string{"[fd00::1]"}, "https://[fd00::1]/token", ""},
		{publicHTTPS, []string{"[fd00::1]:444"}, "https://[fd00::1]:444/token", ""},
		{publicHTTPS, []string{"[fd00::1]:444"}, "https://[fd00::1]/token", notListed},
		{publicHTTPS, []string{"127.0.0.1:5001"}, "https://127.0.0.1:5001/token", ""},
		{publicHTTPS, []string{"169.254.169.254"}, "https://169.254.169.254/token", notPublic},
	} {
		err := newRegistry(t, test.registry, RegistryOptions{Realms: test.realms}).checkRealm(test.realm)
		var refused *RealmError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s, realm %q, list %q: %v", test.registry, test.realm, test.realms, err)
		case test.want != "" && (!errors.As(err, &refused) || !errors.Is(err, errdefs.ErrFailedPrecondition)):
			t.Errorf("%s, realm %q, list %q: not refused: %v", test.registry, test.realm, test.realms, err)
		case test.want != "":
			wantError(t, err, test.want, "no credential was sent")
		}
	}
}

func newRegistry(t *testing.T, url string, options RegistryOptions) *Registry {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
	return NewRegistry(req.URL.Scheme, req.URL.Host, &http.Transport{}, &heldCredentials{held: map[string]Credential{"": withPassword}}, options)
}

// A refused realm is not asked, whatever there is to send.
func TestRefusedRealmIsNotAsked(t *testing.T) {
	t.Parallel()
	for _, credential := range []Credential{withPassword, withIdentity, anonymous} {
		s := newScene(t, map[string]Credential{"": credential}, registrytest.WithRealm("http://169.254.169.254/token"))
		s.registry.tokens.client.Transport = &endpoint{steps: []step{func(req *http.Request) (*http.Response, error) {
			t.Errorf("%s was asked", req.URL)
			return nil, errAsk
		}}}
		wantError(t, s.pull(ctx(), "p"), "169.254.169.254", "no credential was sent")
		s.wantLog("GET p manifest v1 401")
	}
}

// A registry that falls back to http may have its token endpoint there, once
// it has answered over http itself.
func TestRealmOverHTTPFallback(t *testing.T) {
	t.Parallel()
	registry := newRegistry(t, "https://127.0.0.1:5000", RegistryOptions{HTTPFallback: true})
	if err := registry.checkRealm("http://127.0.0.1:5001/token"); err == nil {
		t.Error("allowed before the registry has answered over http")
	}
	registry.transport.plain.Store(true)
	if err := registry.checkRealm("http://127.0.0.1:5001/token"); err != nil {
		t.Error(err)
	}
	strict := newRegistry(t, "https://127.0.0.1:5000", RegistryOptions{})
	strict.transport.plain.Store(true)
	if err := strict.checkRealm("http://127.0.0.1:5001/token"); err == nil {
		t.Error("allowed without the option")
	}
}

// connTo is a connection to an address, without a network.
type connTo struct {
	net.Conn
	remote string
}

func (c connTo) RemoteAddr() net.Addr {
	if c.remote == "pipe" {
		return &net.UnixAddr{Name: c.remote, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}

// What is dialled is judged by where it really is.
func TestJudge(t *testing.T) {
	t.Parallel()
	const public, private, loop = "93.184.216.34:443", "10.0.0.1:443", "127.0.0.1:443"
	for _, test := range []struct {
		registryAt, address, at string
		allowed                 bool
	}{
		{public, "auth.test:443", public, true},
		{public, "auth.test:443", private, false},
		{public, "auth.test:443", loop, false},
		{public, "auth.test:443", "[::1]:443", false},
		{public, "auth.test:443", "[::ffff:10.0.0.1]:443", false},
		{public, "auth.test:443", "169.254.169.254:443", false},
		{private, "auth.test:443", public, true},
		{private, "auth.test:443", private, true},
		{private, "auth.test:443", "[fd00::1]:443", true},
		{private, "auth.test:443", loop, false},
		{private, "auth.test:443", "169.254.169.254:443", false},
		{loop, "auth.test:443", loop, true},
		{loop, "auth.test:443", private, true}, // more public than the registry
		{loop, "auth.test:443", "[fe80::1%eth0]:443", false},
		{public, "listed.test:443", private, true},
		{public, "listed.test:443", loop, true},
		{public, "listed.test:443", "169.254.169.254:443", false},
		{public, "other.test:3128", private, false},
		{public, "auth.test:443", "pipe", true}, // a dialer of the caller's
		{loop, "reg.test:443", loop, true},
	} {
		registry := newRegistry(t, "https://reg.test", RegistryOptions{Realms: []string{"listed.test"}})
		if err := registry.transport.judge(test.registryAt, "reg.test:443"); err != nil {
			t.Fatal(err)
		}
		err := registry.guarded.judge(test.at, test.address)
		if (err == nil) != test.allowed {
			t.Errorf("registry at %s, %s at %s: %v", test.registryAt, test.address, test.at, err)
		}
	}
}

// A registry may redirect to private storage, as containerd lets it, but not
// to the client's own services.
func TestJudgeRedirects(t *testing.T) {
	t.Parallel()
	for at, allowed := range map[string]bool{"10.0.0.1:443": true, "127.0.0.1:443": false, "169.254.169.254:443": false} {
		registry := newRegistry(t, "https://reg.test", RegistryOptions{})
		if err := registry.transport.judge("93.184.216.34:443", "reg.test:443"); err != nil {
			t.Fatal(err)
		}
		if err := registry.transport.judge(at, "storage.test:443"); (err == nil) != allowed {
			t.Errorf("%s: %v", at, err)
		}
	}
}
