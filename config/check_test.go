package config

import (
	"strings"
	"testing"
)

// TestRules: each line is appended to the minimal file, and is refused for one reason, or accepted when there is none.
func TestRules(t *testing.T) {
	const (
		loopback = "must be a loopback address and a port"
		differ   = "must differ from gateway.address"
		absolute = "must be an absolute path"
		leads    = "must be outside of containerd's /etc/containerd/certs.d, which leads back to the gateway"
		pattern  = "must be registry/path with names of repositories, * or ** between slashes"
		among    = "its registry must be one of gateway.registries"
		realm    = "must be host or host:port, without https://"
	)
	for line, want := range map[string]string{
		`address = "127.0.0.1:0"`:                      "",
		`address = "[::1]:7117"`:                       "",
		`address = "localhost:7117"`:                   "",
		`address = ""`:                                 `:4:11: gateway.address is ""; ` + loopback,
		`address = ":7117"`:                            `:4:11: gateway.address is ":7117"; ` + loopback,
		`address = "10.0.0.1:7117"`:                    `:4:11: gateway.address is "10.0.0.1:7117"; ` + loopback,
		`address = "127.0.0.1"`:                        `:4:11: gateway.address is "127.0.0.1"; ` + loopback,
		`address = "localhost:http"`:                   `:4:11: gateway.address is "localhost:http"; ` + loopback,
		`address = "localhost:65536"`:                  `:4:11: gateway.address is "localhost:65536"; ` + loopback,
		`metrics_address = "127.0.0.1:7118"`:           "",
		`metrics_address = "127.0.0.2:7117"`:           "",
		`metrics_address = ""`:                         "",
		`metrics_address = "0.0.0.0:7118"`:             `:4:19: gateway.metrics_address is "0.0.0.0:7118"; ` + loopback,
		`metrics_address = "127.0.0.1:7117"`:           `:4:19: gateway.metrics_address is "127.0.0.1:7117"; ` + differ,
		`metrics_address = "localhost:7117"`:           `:4:19: gateway.metrics_address is "localhost:7117"; ` + differ,
		`redirects = "pass"`:                           `:4:1: gateway.redirects is not a key any more; remove it; redirects of blobs are passed to the client where that is safe, and followed otherwise`,
		`upstream_timeout = "29.9s"`:                   "",
		`upstream_timeout = "30s"`:                     `:4:20: gateway.upstream_timeout is "30s"; must be more than 0s and less than containerd's 30s`,
		`upstream_timeout = "0s"`:                      `:4:20: gateway.upstream_timeout is "0s"; must be more than 0s and less than containerd's 30s`,
		`grace = "0s"`:                                 "",
		`grace = "-1s"`:                                `:4:9: gateway.grace is "-1s"; must not be negative`,
		`grace = ""`:                                   `:4:9: gateway.grace is ""; must be a duration such as "30s"`,
		`trail_max_age = "720h"`:                       `:4:1: gateway.trail_max_age is not a key any more; remove it; entries that were not seen for 30 days are dropped`,
		`trail_max_bytes = 1_048_576`:                  `:4:1: gateway.trail_max_bytes is not a key any more; remove it; the location cache has at most 64 MiB; beyond that the oldest entries are dropped`,
		`search_requests = 100`:                        `:4:1: gateway.search_requests is not a key any more; remove it; a search makes 100 requests at most`,
		`state_dir = "state"`:                          `:4:13: gateway.state_dir is "state"; ` + absolute,
		`certificate = ""`:                             `:4:15: gateway.certificate is ""; ` + absolute,
		`client_ca = "./ca.pem"`:                       `:4:13: gateway.client_ca is "./ca.pem"; ` + absolute,
		`hosts_dir = "certs.d"`:                        `:4:13: gateway.hosts_dir is "certs.d"; ` + absolute,
		`hosts_dir = "/etc/containerd/certs.d"`:        `:4:13: gateway.hosts_dir is "/etc/containerd/certs.d"; ` + leads,
		`hosts_dir = "/etc/x/../containerd//certs.d/"`: `:4:13: gateway.hosts_dir is "/etc/x/../containerd//certs.d/"; ` + leads,
		`hosts_dir = "/etc/containerd"`:                `:4:13: gateway.hosts_dir is "/etc/containerd"; ` + leads,
		`hosts_dir = "/"`:                              `:4:13: gateway.hosts_dir is "/"; ` + leads,
		`hosts_dir = "/etc/containerd/certs.d/..x"`:    `:4:13: gateway.hosts_dir is "/etc/containerd/certs.d/..x"; ` + leads,
		`hosts_dir = "/etc/containerd/certs.dd"`:       "",
		`hosts_dir = "/etc/containerd/..x"`:            "",
		`allow = ["reg.test/*/web", "reg.test/**"]`:    "",
		`allow = ["reg.test"]`:                         `:4:10: gateway.allow has "reg.test" in it; ` + pattern,
		`allow = ["reg.test/a", "other.test/a"]`:       `:4:24: gateway.allow has "other.test/a" in it; ` + among,
		"[log]\nlevel = \"warning\"":                   `:5:9: log.level is "warning"; must be error, warn, info or debug`,
		"[log]\nlevel = \"\"":                          `:5:9: log.level is ""; must be error, warn, info or debug`,
		"[log]\nformat = \"xml\"":                      `:5:10: log.format is "xml"; must be text or json`,
		"[credentials]\nhelper_timeout = \"0s\"":       `:5:18: credentials.helper_timeout is "0s"; must be more than 0s`,
		"[credentials]\ndocker_config = [\"a.json\"]":  `:5:18: credentials.docker_config has "a.json" in it; must be absolute paths`,
		"[credentials]\ndocker_config = []":            "",
		"[credentials]\nkubelet_credential_providers = \"a\"\nkubelet_credential_provider_dir = \"/b\"": `:5:32: credentials.kubelet_credential_providers is "a"; must be an absolute path`,
		"[credentials]\nkubelet_credential_provider_dir = \"/b\"":                                       `:4:2: credentials.kubelet_credential_providers and credentials.kubelet_credential_provider_dir go together; give both, as the kubelet has them, or neither`,
		"[credentials]\nrealms = [\"a\", \"a.test:443\", \"[::1]\", \"10.0.0.1:5001\"]":                 "",
		"[credentials]\nrealms = [\"https://a.test\"]":                                                  `:5:11: credentials.realms has "https://a.test" in it; ` + realm,
		"[credentials]\nrealms = [\"a.test/token\"]":                                                    `:5:11: credentials.realms has "a.test/token" in it; ` + realm,
		"[credentials]\nrealms = [\"a.test:99999\"]":                                                    `:5:11: credentials.realms has "a.test:99999" in it; ` + realm,
		"[credentials]\nrealms = [\"a.test:\"]":                                                         `:5:11: credentials.realms has "a.test:" in it; ` + realm,
		"[credentials]\nrealms = [\"user@a.test\"]":                                                     `:5:11: credentials.realms has "user@a.test" in it; ` + realm,
		"[credentials]\nrealms = [\"[::1::2]\"]":                                                        `:5:11: credentials.realms has "[::1::2]" in it; ` + realm,
		"[credentials]\nrealms = [\"\"]":                                                                `:5:11: credentials.realms has "" in it; ` + realm,
		"[nested]\nmax_document_bytes = 4194304":                                                        `:5:1: nested.max_document_bytes is not a key any more; remove it; docs/spec.md, section 5, has the limit`,
		"[nested]\nmax_depth = 16":                                                                      `:5:1: nested.max_depth is not a key any more; remove it; docs/spec.md, section 5, has the limit`,
		"[nested]\nmax_entries = 10000":                                                                 `:5:1: nested.max_entries is not a key any more; remove it; docs/spec.md, section 5, has the limit`,
		"[nested]\nmax_descriptors = 100000":                                                            `:5:1: nested.max_descriptors is not a key any more; remove it; docs/spec.md, section 5, has the limit`,
		"[nested]\nannotations = []":                                                                    "",
		"[nested]\nannotations = []\nproperties = []":                                                   `:5:15: nested.annotations and nested.properties are empty; one of them must have a name`,
		"[nested]\nannotations = [\"a\", \"b\\nc\"]":                                                    `:5:21: nested.annotations has "b\nc" in it; must be names of printable characters`,
		"[nested]\nproperties = [\"\"]":                                                                 `:5:15: nested.properties has "" in it; must be names of printable characters`,
	} {
		text := minimal + line
		if want != "" {
			checkReport(t, text, []string{want})
		} else if _, err := Parse("x.toml", []byte(text)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestRulesPod(t *testing.T) {
	pod := strings.Replace(minimal, "node", "pod", 1)
	if _, err := Parse("x.toml", []byte(pod)); err != nil {
		t.Error(err)
	}
	const contradicts = `: credentials.docker_config contradicts gateway.mode "pod"; remove it: the callers' credentials are used`
	for text, place := range map[string]string{
		pod + "[credentials]\ndocker_config = []": ":5:17",
		"credentials = {docker_config = [\"/root/.docker/config.json\", \"/var/lib/kubelet/config.json\"]}\n" + pod: ":1:32",
	} {
		checkReport(t, text, []string{place + contradicts})
	}
}

func TestRulesRegistries(t *testing.T) {
	for registry, ok := range map[string]bool{
		"reg.test": true, "reg.test:5000": true, "localhost": true, "[::1]:5000": true, "127.0.0.1": true,
		"": false, "a/b": false, "reg.test/": false, "https://reg.test": false, "user@reg.test": false, "reg.test:x": false,
	} {
		c := *samples()[0]
		c.Gateway.Registries = []string{registry}
		if err := c.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", registry, err)
		}
	}
}

// TestCheck: without a file there are no positions.
func TestCheck(t *testing.T) {
	c := Default()
	c.Gateway.Address = "0.0.0.0:1"
	c.Gateway.Allow = []string{"other.test/x"}
	want := []string{
		"gateway.mode is missing; must be node or pod",
		"gateway.registries is missing; name the registries to serve, host or host:port",
		`gateway.address is "0.0.0.0:1"; must be a loopback address and a port`,
	}
	if err := c.Check(); err == nil || err.Error() != strings.Join(want, "; ") {
		t.Errorf("%v", err)
	}
	pod := *samples()[1]
	pod.Credentials.DockerConfig = []string{"/x"}
	if err := pod.Check(); err == nil || !strings.Contains(err.Error(), "contradicts") {
		t.Errorf("%v", err)
	}
}

// TestSystemDir: on Windows /etc is a directory that any user can make on the current drive.
func TestSystemDir(t *testing.T) {
	t.Parallel()
	if a, b, c := SystemDir("linux", "/etc/x"), SystemDir("darwin", "/etc/x"), SystemDir("windows", "/etc/x"); a != "/etc/x" || b != "/etc/x" || c != "" {
		t.Errorf("%q, %q, %q", a, b, c)
	}
}
