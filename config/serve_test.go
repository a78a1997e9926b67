package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

const front = "[serve]\ncertificate = \"/x/pem\"\nregistries = [\"bundles.test=reg.test\"]\n"

// TestRulesServe: each line is appended to the minimal file of a front, and is refused for one reason, or accepted when there is none.
func TestRulesServe(t *testing.T) {
	const (
		form    = "must be NAME=REGISTRY, each host or host:port, such as bundles.example.com=registry.example.com"
		address = "must be host:port or :port"
		ranges  = "must be addresses or ranges such as 10.0.0.0/8"
	)
	for line, want := range map[string]string{
		"":                                     "",
		`listen = ":0"`:                        "",
		`listen = "0.0.0.0:8443"`:              "",
		`listen = "[::]:8443"`:                 "",
		`listen = "front.test:8443"`:           "",
		`listen = ""`:                          `:4:10: serve.listen is ""; ` + address,
		`listen = "8443"`:                      `:4:10: serve.listen is "8443"; ` + address,
		`listen = ":https"`:                    `:4:10: serve.listen is ":https"; ` + address,
		`metrics_address = ":9090"`:            "",
		`metrics_address = "0.0.0.0:9090"`:     "",
		`metrics_address = "x"`:                `:4:19: serve.metrics_address is "x"; ` + address,
		`metrics_address = ":443"`:             `:4:19: serve.metrics_address is ":443"; must differ from serve.listen`,
		`metrics_address = "10.0.0.1:443"`:     `:4:19: serve.metrics_address is "10.0.0.1:443"; must differ from serve.listen`,
		`allow = ["reg.test/a/**"]`:            "",
		`allow = ["bundles.test/a"]`:           `:4:10: serve.allow has "bundles.test/a" in it; its registry must be one of those behind serve.registries`,
		`allow = ["reg.test"]`:                 `:4:10: serve.allow has "reg.test" in it; ` + patternForm,
		`seal_keys = ["/a", "b"]`:              `:4:20: serve.seal_keys has "b" in it; must be absolute paths`,
		`hosts_dir = ""`:                       "",
		`hosts_dir = "x"`:                      `:4:13: serve.hosts_dir is "x"; must be an absolute path`,
		`hosts_dir = "/etc/containerd"`:        `:4:13: serve.hosts_dir is "/etc/containerd"; must be outside of containerd's /etc/containerd/certs.d, which may lead to a gateway with the machine's credentials`,
		`redirects = "follow"`:                 "",
		`redirects = "pass"`:                   `:4:13: serve.redirects is "pass"; must be hand-on or follow`,
		`proxies = ["10.0.0.1", "fd00::/8"]`:   "",
		`proxies = ["10.0.0.1", "lb.test"]`:    `:4:24: serve.proxies has "lb.test" in it; ` + ranges,
		`proxies = ["10.0.0.0/33"]`:            `:4:12: serve.proxies has "10.0.0.0/33" in it; ` + ranges,
		`max_requests = 1`:                     "",
		`max_requests = 0`:                     `:4:16: serve.max_requests is 0; must be at least 1`,
		`max_connections = 7`:                  `:4:19: serve.max_connections is 7; must be at least 8 and at most 65536`,
		`max_connections = 65537`:              `:4:19: serve.max_connections is 65537; must be at least 8 and at most 65536`,
		`max_memory = 1`:                       `:4:14: serve.max_memory is 1; must be at least 50331648`,
		`upstream_timeout = "10m"`:             "",
		`upstream_timeout = "10m1s"`:           `:4:20: serve.upstream_timeout is "10m1s"; must be more than 0s and at most 10m`,
		`upstream_timeout = "0s"`:              `:4:20: serve.upstream_timeout is "0s"; must be more than 0s and at most 10m`,
		`grace = "-1s"`:                        `:4:9: serve.grace is "-1s"; must not be negative`,
		"[credentials]\nrealms = [\"a.test\"]": "",
		"[credentials]\ndocker_config = []":    `:5:17: credentials.docker_config contradicts [serve] alone; remove it: the callers' credentials are used`,
		"[credentials]\nkubelet_credential_providers = \"/a\"\nkubelet_credential_provider_dir = \"/b\"": `:5:32: credentials.kubelet_credential_providers contradicts [serve] alone; remove it: the callers' credentials are used`,
		"[gateway]\nmode = \"node\"\nregistries = [\"reg.test\"]\n[credentials]\ndocker_config = []":     "",
		"[gateway]\nmode = \"node\"\n": `:4:2: gateway.registries is missing; name the registries to serve, host or host:port`,
	} {
		if want != "" {
			checkReport(t, front+line, []string{want})
		} else if _, err := Parse("x.toml", []byte(front+line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for registries, want := range map[string]string{
		`["bundles.test=reg.test", "[::1]:8443=127.0.0.1:5000", "b:1=reg.test"]`: "",
		`[]`:                                         "serve.registries is empty; name what to serve, such as bundles.example.com=registry.example.com",
		`["bundles.test"]`:                           `serve.registries has "bundles.test" in it; ` + form,
		`["=reg.test"]`:                              `serve.registries has "=reg.test" in it; ` + form,
		`["bundles.test="]`:                          `serve.registries has "bundles.test=" in it; ` + form,
		`["bundles.test=https://reg.test"]`:          `serve.registries has "bundles.test=https://reg.test" in it; ` + form,
		`["https://bundles.test=reg.test"]`:          `serve.registries has "https://bundles.test=reg.test" in it; ` + form,
		`["bundles.test/x=reg.test"]`:                `serve.registries has "bundles.test/x=reg.test" in it; ` + form,
		`["bundles.test=reg.test/x"]`:                `serve.registries has "bundles.test=reg.test/x" in it; ` + form,
		`["a.test=reg.test", "A.TEST=other.test"]`:   `serve.registries has "A.TEST=other.test" in it; its name must be there once: there is one registry behind a name`,
		`["a.test=reg.test", "a.test=reg.test"]`:     `serve.registries has "a.test=reg.test" in it; its name must be there once: there is one registry behind a name`,
		`["a.test=reg.test", "a.test:1=reg.test"]`:   "",
		`["a.test=b=reg.test"]`:                      `serve.registries has "a.test=b=reg.test" in it; ` + form,
		`["a.test=reg.test\n"]`:                      `serve.registries has "a.test=reg.test\n" in it; ` + form,
		`["a.test=reg.test", "a.test = other.test"]`: `serve.registries has "a.test = other.test" in it; ` + form,
	} {
		_, err := Parse("x.toml", []byte("[serve]\ncertificate = \"/x/pem\"\nregistries = "+registries))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+want)) {
			t.Errorf("%s: %v, want %s", registries, err, want)
		}
	}
}

// TestSections: a section is needed by the command that runs it, and otherwise checked when it is there.
func TestSections(t *testing.T) {
	const (
		noGateway = "gateway.mode is missing; must be node or pod; x.toml:1:1: gateway.registries is missing; name the registries to serve, host or host:port"
		noServe   = "serve.registries is missing; name what to serve, such as bundles.example.com=registry.example.com; x.toml:1:1: serve.certificate is missing; " + certificateFix
	)
	for _, test := range []struct{ text, section, want string }{
		{"", "", noGateway},
		{"[serve]\n", "", noGateway},
		{"[log]\nlevel = \"info\"\n", "gateway", noGateway},
		{"[log]\nlevel = \"info\"\n", "serve", noServe},
		{minimal, "", ""},
		{minimal, "gateway", ""},
		{minimal, "serve", noServe},
		{front, "", ""},
		{front, "serve", ""},
		{front, "gateway", noGateway},
		{front + minimal, "", ""},
		{front + minimal, "serve", ""},
		{front + minimal, "gateway", ""},
		{"serve.listen = \":1\"\n", "", noServe},
	} {
		_, err := read("x.toml", []byte(test.text), purpose{section: test.section}).result()
		if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != "x.toml:1:1: "+test.want) {
			t.Errorf("%q for %q: %v", test.text, test.section, err)
		}
	}
}

// TestRenderServe: the defaults have the section as comments, which work once they are none.
func TestRenderServe(t *testing.T) {
	text := defaults().Render()
	_, after, ok := strings.Cut(text, "\n[serve]\n")
	if !ok || strings.Contains(after, "\nlisten") || strings.Contains(samples()[0].Render(), "[serve]") || strings.Contains(samples()[3].Render(), "[gateway]") {
		t.Fatal(text)
	}
	var used strings.Builder
	for line := range strings.Lines(after) {
		if key, _, ok := strings.Cut(line, " = "); ok && slices.Contains(names(reflect.TypeFor[Serve]()), strings.TrimPrefix(key, "# ")) {
			used.WriteString(line[2:])
		}
	}
	want := Default()
	want.Serve.Certificate, want.Serve.Registries = "/etc/nested/tls/serve.pem", []string{"bundles.example.com=registry.example.com"}
	if c, err := Parse("x.toml", []byte("[serve]\n"+used.String())); err != nil || !reflect.DeepEqual(*c, want) {
		t.Errorf("%s\n%+v, %v", used.String(), c, err)
	}
}
