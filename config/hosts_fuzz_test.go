package config

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// FuzzHosts: of whatever hosts.toml an administrator has, the gateway's is one with the gateway in front and all the rest as
// it was; one that says the same when it is made again; and taking the gateway out gives a file that says what his said.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{
		"", "server = \"https://reg.test\"\n", "server = \"https://reg.test\"\n\n[host.\"https://mirror.test\"]\n  capabilities = [\"pull\"]\n",
		"[host.\"https://a.test\"]\nca = [\"a.pem\", \"/b.pem\"]\nclient = [[\"c.pem\", \"k.pem\"]]\n[host.\"https://a.test\".header]\nx = [\"y\"]\n",
		"host = { \"https://a.test\" = { capabilities = [\"pull\"] } }\n", "[host]\n[host.\"https://a.test\"]\n", "[[host]]\n", "host.\"https://a.test\".ca = \"x\"\n",
		"# a comment\nserver = 'https://reg.test' # another\r\n", "[host.'https://127.0.0.1:7117']\n", "[ host . \"https://a.test\" ]\nskip_verify = true\n", "x = \"\"\"\n[host.\"y\"]\n\"\"\"\n",
		HostsMarker + "\nserver = \"https://reg.test\"\n", "\xef\xbb\xbfserver = \"x\"\n", "server = 7\n", "server = \"\"\n",
	} {
		f.Add([]byte(s))
	}
	gateway := NewGatewayHost("127.0.0.1:7117", "id")
	f.Fuzz(func(t *testing.T, admin []byte) {
		before, err := ParseHosts("x", admin)
		rendered, renderErr := gateway.Render("x", "reg.test", admin)
		if err != nil && renderErr == nil && !bytes.HasPrefix(admin, []byte(HostsMarker)) {
			t.Errorf("%q is no hosts.toml and becomes %q", admin, rendered)
		}
		if renderErr != nil {
			return
		}
		if err = gateway.CheckFirst("x", rendered); err != nil {
			t.Errorf("%q becomes %q: %v", admin, rendered, err)
		}
		after, err := ParseHosts("x", rendered)
		others := slices.DeleteFunc(slices.Clone(before.Hosts), func(h Host) bool { return gateway.Is(h.URL) })
		if err != nil || !reflect.DeepEqual(after.Hosts[1:], append([]Host{}, others...)) {
			t.Errorf("%q has hosts %v, then %v, %v", admin, before.Hosts, after.Hosts, err)
		}
		text, err := gateway.Render("x", "reg.test", rendered)
		if again, parseErr := ParseHosts("x", text); err != nil || parseErr != nil || !reflect.DeepEqual(again, after) {
			t.Errorf("%q becomes %q, and then %q, %v", admin, rendered, text, errors.Join(err, parseErr))
		}
		if _, err := gateway.Upstream("x", "reg.test", "/dir", rendered); err != nil {
			t.Errorf("%q becomes %q, of which upstream is %v", admin, rendered, err)
		}
	})
}
