package node

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	dockerconfig "github.com/containerd/containerd/v2/core/remotes/docker/config"

	"github.com/nestedoci/nested/config"
)

// hosts are a registry's, as containerd makes them of hosts.toml.
func (n *machine) hosts(registry string) []docker.RegistryHost {
	n.T.Helper()
	hosts, err := dockerconfig.ConfigureHosts(n.T.Context(), dockerconfig.HostOptions{
		HostDir: dockerconfig.HostDirFromRoot(n.Path(config.ContainerdCerts)),
	})(registry)
	n.Must(err)
	return hosts
}

// TestContainerdAndGatewayKnowEachOther has containerd's own client meet the gateway's server: after
// an installation, on a connection from before a renewal, and after that.
func TestContainerdAndGatewayKnowEachOther(t *testing.T) {
	n := newMachine(t, map[string]string{"/etc/containerd/certs.d/reg.test/hosts.toml": "server = \"https://reg.test\"\n[host.\"https://mirror.test\"]\n"})
	address := n.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.PeerCertificates[0].Subject.CommonName != "containerd" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	o := installOn("reg.test")
	o.Address = address
	n.now = time.Now().Add(-300 * 24 * time.Hour)
	n.Must(n.install(o))
	first := n.hosts("reg.test")
	var names []string
	for _, h := range first {
		names = append(names, h.Scheme+"://"+h.Host+h.Path)
	}
	if got := strings.Join(names, " "); got != "https://"+address+"/v2 https://mirror.test/v2 https://reg.test/v2" {
		t.Fatal(got)
	}
	if c := first[0].Capabilities; c != docker.HostCapabilityPull|docker.HostCapabilityResolve {
		t.Fatalf("capabilities %v", c)
	}
	n.wantStatus(first[0].Client, address)

	n.now = time.Now()
	n.Must(n.renew())
	n.wantStatus(first[0].Client, address) // over its connection
	n.wantStatus(n.hosts("reg.test")[0].Client, address)
}

func (n *machine) wantStatus(client *http.Client, address string) {
	n.T.Helper()
	response, err := client.Get("https://" + address + "/v2/")
	n.Must(err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		n.T.Fatal(response.Status)
	}
}

// TestStrangersAreRefused: others than containerd at the gateway, and another
// than the gateway in its place.
func TestStrangersAreRefused(t *testing.T) {
	n, other := newMachine(t, nil), newMachine(t, nil)
	address := n.Serve(http.NotFoundHandler())
	o := installOn("reg.test")
	o.Address = address
	n.Must(n.install(o))
	other.Must(other.install(o))
	ours := n.hosts("reg.test")[0].Client.Transport.(*http.Transport).TLSClientConfig
	theirs := other.hosts("reg.test")[0].Client.Transport.(*http.Transport).TLSClientConfig
	for name, c := range map[string]*tls.Config{
		"no certificate":              {RootCAs: ours.RootCAs},
		"certificate of another node": {RootCAs: ours.RootCAs, Certificates: theirs.Certificates},
		"gateway of another node":     {RootCAs: theirs.RootCAs, Certificates: ours.Certificates},
		"another name":                {RootCAs: ours.RootCAs, Certificates: ours.Certificates, ServerName: "reg.test"},
	} {
		c.MaxVersion = tls.VersionTLS12 // the handshake ends with the server's consent
		if conn, err := tls.Dial("tcp", address, c); err == nil {
			conn.Close()
			t.Error(name)
		}
	}
	good := ours.Clone()
	good.MaxVersion = tls.VersionTLS12
	conn, err := tls.Dial("tcp", address, good)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestNoKeyIsLeftOver looks for private keys beside the two that are needed.
func TestNoKeyIsLeftOver(t *testing.T) {
	n := newMachine(t, nil)
	n.Must(n.install(installOn("reg.test")))
	keys := 0
	for path, text := range n.Tree() {
		if count := strings.Count(text, "PRIVATE KEY-----\n") / 2; count > 0 {
			keys += count
			if !strings.HasPrefix(text, "-rw-------\n") {
				t.Errorf("%s: %.10s", path, text)
			}
		}
		if filepath.Base(path) == "ca.pem" && strings.Contains(text, "PRIVATE") {
			t.Error(path)
		}
	}
	if keys != 2 {
		t.Errorf("%d keys", keys)
	}
}
