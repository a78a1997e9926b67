package config_test

import (
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
)

const buildKitText = `
# The gateway of nested, by nestctl install --for buildkit. Restart buildkitd.
[registry."reg.test"]
  mirrors = ["127.0.0.1:7117"]

[registry."reg.test:5000"]
  mirrors = ["127.0.0.1:7117"]

[registry."127.0.0.1:7117"]
  http = false # otherwise BuildKit leaves out TLS on loopback
  tlsconfigdir = ["/tls"]
`

var buildKitGateway = config.GatewayHost{Address: "127.0.0.1:7117"}

// TestBuildKit: what can be appended to a buildkitd.toml is, what stands in it already is said, and nothing when it is complete.
func TestBuildKit(t *testing.T) {
	const complete = "[registry.\"127.0.0.1:7117\"]\nhttp = false\ntlsconfigdir = [\"/other\", \"/tls\"]\n[registry.\"reg.test:5000\"]\nmirrors = [\"https://127.0.0.1:7117\", \"m.test\"]\n"
	for _, test := range []struct{ admin, add, notes string }{
		{"", buildKitText, ""},
		{"debug = true", buildKitText, ""}, // no line end
		{buildKitText, "", ""},
		{complete + "[registry.\"reg.test\"]\nmirrors = [\"127.0.0.1:7117/reg.test\"]\n", "", ""},
		{complete, "\n# The gateway of nested, by nestctl install --for buildkit. Restart buildkitd.\n[registry.\"reg.test\"]\n  mirrors = [\"127.0.0.1:7117\"]\n", ""},
		{complete + "[registry.\"reg.test\"]\nhttp = true\n", "", `b: in [registry."reg.test"] set mirrors = ["127.0.0.1:7117"]`},
		{complete + "[registry.\"reg.test\"]\nmirrors = [\"m.test/x\", \"127.0.0.1:7117\"]\n", "", `b: in [registry."reg.test"] set mirrors = ["127.0.0.1:7117", "m.test/x"]`},
		{complete + "[registry.\"reg.test\"]\nmirrors = [\"localhost:7117\"]\n", "", `b: in [registry."reg.test"] set mirrors = ["127.0.0.1:7117"]`},
		{strings.ReplaceAll(buildKitText, "http = false", "http = true"), "", `b: in [registry."127.0.0.1:7117"] set http = false and tlsconfigdir = ["/tls"]`},
		{strings.ReplaceAll(buildKitText, "http = false", ""), "", `b: in [registry."127.0.0.1:7117"] set http = false and tlsconfigdir = ["/tls"]`},
		{strings.ReplaceAll(buildKitText, "tlsconfigdir", "ca"), "", `b: in [registry."127.0.0.1:7117"] set http = false and tlsconfigdir = ["/tls"]`},
	} {
		add, notes, err := buildKitGateway.BuildKit("b", []byte(test.admin), []string{"reg.test", "reg.test:5000"}, "/tls")
		if err != nil || string(add) != test.add || strings.Join(notes, "\n") != test.notes {
			t.Errorf("%s\nadd\n%s\nnotes %q, %v", test.admin, add, notes, err)
		}
	}
	for admin, want := range map[string]string{
		"[registry": "b:1:",
		"registry = { \"x.test\" = { http = true } }\n": "b: nothing can be appended to it; write its registries as tables with a header",
		"registry = 7\n": "b:1:12: ",
	} {
		if add, notes, err := buildKitGateway.BuildKit("b", []byte(admin), []string{"reg.test"}, "/tls"); err == nil || !strings.HasPrefix(err.Error(), want) || add != nil || notes != nil {
			t.Errorf("%s\nadd %q, notes %q, %v", admin, add, notes, err)
		}
	}
}

func TestBuildKitMirror(t *testing.T) {
	for mirror, want := range map[string]string{
		"127.0.0.1:7117": "127.0.0.1:7117", "https://127.0.0.1:7117": "127.0.0.1:7117", "127.0.0.1:7117/x.test": "127.0.0.1:7117",
		"m.test": "m.test", "m.test/a/b/": "m.test", "[::1]:7117": "[::1]:7117", "[::1]:7117/x": "[::1]:7117", "": "", "%": "%",
	} {
		if got := config.BuildKitMirror(mirror); got != want {
			t.Errorf("%q: %q, want %q", mirror, got, want)
		}
	}
}

// FuzzBuildKit: whatever a buildkitd.toml has, appending makes one that parses, and to which there is nothing to append.
func FuzzBuildKit(f *testing.F) {
	for _, s := range []string{"", buildKitText, "[registry]\n", "registry.\"reg.test\".http = true\n", "[registry.\"reg.test\"]\nmirrors = []", "a = \"\"\"\n[registry]\n\"\"\"", "[[registry]]", "x = 1 #"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, admin []byte) {
		add, _, err := buildKitGateway.BuildKit("b", admin, []string{"reg.test"}, "/tls")
		if err != nil {
			return
		}
		again, _, err := buildKitGateway.BuildKit("b", append(append(admin, '\n'), add...), []string{"reg.test"}, "/tls")
		if err != nil || len(again) > 0 {
			t.Errorf("%q needs %q, and then %q, %v", admin, add, again, err)
		}
	})
}
