package config

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// HostsMarker is the first line of a hosts.toml that contains the gateway, or
// the second one, after a header by which another program recognizes its files:
// k3s and RKE2 remove what they have written by that.
const HostsMarker = `# With the gateway of nested in it, by "nestctl install"; "nestctl uninstall" brings back what was here before.`

// generated is a comment by which a program recognizes the files that it
// writes.
var generated = regexp.MustCompile(`(?i)^#.*\b(?:generated|managed|do not (?:edit|modify))\b`)

// splitHeader cuts off the first line when it says which program writes the
// file.
func splitHeader(text []byte) (header, rest []byte) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	if !generated.Match(line) {
		return nil, text
	}
	return append(bytes.Clone(line), '\n'), rest
}

// HasMarker reports whether nestctl install has put the gateway into a
// hosts.toml.
func HasMarker(text []byte) bool { return len(WithoutMarker(text)) != len(text) }

// WithoutMarker is a hosts.toml without [HostsMarker].
func WithoutMarker(text []byte) []byte {
	header, rest := splitHeader(text)
	without, ok := bytes.CutPrefix(rest, []byte(HostsMarker+"\n"))
	if !ok {
		return text
	}
	return slices.Concat(header, without)
}

// GatewayHost is the gateway as an entry of a hosts.toml.
type GatewayHost struct {
	Address    string // host:port
	CA, Client string // files beside hosts.toml
}

// NewGatewayHost names the files of certificates after their ID. The names
// change with the content, so that no hosts.toml ever names files that do not
// match.
func NewGatewayHost(address, id string) GatewayHost {
	return GatewayHost{Address: address, CA: "nested-" + id + "-ca.pem", Client: "nested-" + id + ".pem"}
}

// IsGateway reports whether a host is a gateway, by the name of its CA.
func (h Host) IsGateway() bool {
	return slices.ContainsFunc(h.CA, func(path string) bool {
		ok, err := filepath.Match("nested-????????-ca.pem", filepath.Base(path))
		return ok && err == nil
	})
}

// withoutGateway returns a hosts.toml without the gateway, with absolute file
// names; false when the gateway is not in it, or the file cannot be read.
func withoutGateway(name string, text []byte) ([]byte, bool) {
	hosts, err := ParseHosts(name, text)
	if err != nil || !slices.ContainsFunc(hosts.Hosts, Host.IsGateway) {
		return nil, false
	}
	own := func(url string) bool {
		return slices.ContainsFunc(hosts.Hosts, func(h Host) bool { return h.URL == url && h.IsGateway() })
	}
	return RebaseHosts(dropHosts(text, own), filepath.Dir(name)), true
}

// URL is the gateway as a hosts.toml names it.
func (h GatewayHost) URL() string { return "https://" + h.Address }

// Is reports whether a URL is the gateway's, whatever its scheme, its path and
// the spelling of loopback.
func (h GatewayHost) Is(raw string) bool {
	if !strings.HasPrefix(raw, "http") { // as in containerd
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	_, port, err := net.SplitHostPort(h.Address)
	return u.Host == h.Address || err == nil && u.Port() == port && isLoopback(u.Host)
}

// HostDirs are the directories in which containerd looks for the files of a
// registry, the first one wins. The last is shared by all registries.
func HostDirs(registry string) []string {
	dirs := []string{registry, "_default"}
	if i := strings.LastIndex(registry, ":"); i > 0 {
		dirs = slices.Insert(dirs, 0, registry[:i]+"_"+registry[i+1:]+"_")
	}
	return dirs
}

// IsHostDir reports whether [HostDirs] has a name for any registry, the shared
// one excepted.
func IsHostDir(name string) bool {
	if host, ok := strings.CutSuffix(name, "_"); ok {
		if i := strings.LastIndex(host, "_"); i > 0 {
			name = host[:i] + ":" + host[i+1:]
		}
	}
	return isRegistry(name)
}

// Render returns the hosts.toml of a registry with the gateway before all hosts
// of the administrator's, whose text does not change. name is for errors.
func (h GatewayHost) Render(name, registry string, admin []byte) ([]byte, error) {
	admin = WithoutMarker(admin)
	hosts, err := ParseHosts(name, admin)
	if err != nil {
		return nil, err
	}
	header, admin := splitHeader(admin)
	if hosts.Server.URL != "" && h.Is(hosts.Server.URL) {
		return nil, fmt.Errorf("%s: server is the gateway itself; make it the registry's URL", name)
	}
	head := string(header) + HostsMarker + "\n"
	if hosts.Server.URL == "" && hosts.Server.Plain {
		head += defaultServer(registry)
	}
	text := slices.Concat([]byte(head+"\n"), insertTable(dropHosts(admin, h.Is), h.table()))
	if _, err := ParseHosts(name, text); err != nil { // it parsed without the gateway
		return nil, h.notFirst(name)
	}
	return text, h.CheckFirst(name, text)
}

// table is the gateway's table. Its capabilities are those that all versions of
// containerd know: an unknown one makes 1.7 and 2.1 refuse the file.
func (h GatewayHost) table() string {
	return fmt.Sprintf("[host.%s]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %s\n  client = %s\n", tomlString(h.URL()), tomlString(h.CA), tomlString(h.Client))
}

// CheckFirst returns what is wrong with the gateway's entry in a hosts.toml.
func (h GatewayHost) CheckFirst(name string, text []byte) error {
	hosts, err := ParseHosts(name, text)
	if err != nil {
		return err
	}
	if len(hosts.Hosts) == 0 || hosts.Hosts[0].URL != h.URL() {
		return h.notFirst(name)
	}
	first := hosts.Hosts[0]
	if !slices.Equal(first.CA, []string{h.CA}) || !slices.Equal(first.Client, [][2]string{{h.Client}}) || first.SkipVerify {
		return fmt.Errorf("%s: [host.%q] must have ca = %q, client = %q and no skip_verify", name, h.URL(), h.CA, h.Client)
	}
	return nil
}

func (h GatewayHost) notFirst(name string) error {
	return fmt.Errorf(`%s: [host.%q] is not, or cannot be, the first host; write all hosts as tables with a header, [host."URL"], after it`, name, h.URL())
}

// defaultServer writes what containerd assumes without a server. For localhost
// that depends on the client, and cannot be written.
func defaultServer(registry string) string {
	switch {
	case docker.IsLocalhost(registry):
		return ""
	case registry == "docker.io":
		registry = "registry-1.docker.io"
	}
	return "server = " + tomlString("https://"+registry) + "\n"
}

// Upstream returns the gateway's own hosts.toml for a registry: the
// administrator's without the gateway, with absolute file names. It is empty
// when there is nothing to say.
func (h GatewayHost) Upstream(name, registry, dir string, admin []byte) ([]byte, error) {
	admin = WithoutMarker(admin)
	text := RebaseHosts(dropHosts(admin, h.Is), dir)
	hosts, err := ParseHosts(name, text)
	if err != nil {
		return nil, err
	}
	server := ""
	if hosts.Server.URL != "" {
		server = "server = " + tomlString(hosts.Server.URL) + "\n"
	}
	if len(hosts.Hosts) == 0 && hosts.Server.Plain && (server == "" || server == defaultServer(registry)) {
		return nil, nil
	}
	return text, nil
}

// SameHosts reports whether two hosts.toml files have the same lines, apart
// from empty ones: removing the gateway from a file may leave some.
func SameHosts(a, b []byte) bool {
	lines := func(text []byte) []string {
		return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	}
	return slices.Equal(lines(a), lines(b))
}

// DockerHosts is the hosts.toml for a directory in Docker's layout: ca.crt,
// client.cert with client.key. It is empty when there is no such file.
func DockerHosts(registry string, names []string) []byte {
	var cas, clients []string
	for _, name := range names {
		if strings.HasSuffix(name, ".crt") {
			cas = append(cas, tomlString(name))
		}
		if base, ok := strings.CutSuffix(name, ".cert"); ok {
			pair := tomlString(name)
			if slices.Contains(names, base+".key") {
				pair = "[" + pair + ", " + tomlString(base+".key") + "]"
			}
			clients = append(clients, pair)
		}
	}
	var text strings.Builder
	if len(cas)+len(clients) > 0 {
		text.WriteString(defaultServer(registry))
	}
	if len(cas) > 0 {
		fmt.Fprintf(&text, "ca = [%s]\n", strings.Join(cas, ", "))
	}
	if len(clients) > 0 {
		fmt.Fprintf(&text, "client = [%s]\n", strings.Join(clients, ", "))
	}
	return []byte(text.String())
}
