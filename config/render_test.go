package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// samples are valid configurations.
func samples() []*Config {
	node, pod, odd := defaults(), defaults(), defaults()
	node.Gateway.Mode, node.Gateway.Registries = "node", []string{"reg.test"}
	pod.Gateway.Mode, pod.Gateway.Registries = "pod", []string{"reg.test:5000", "[::1]:5000"}
	pod.Gateway.Allow = []string{"reg.test:5000/**"}
	odd.Gateway.Mode, odd.Gateway.Registries = "node", []string{"reg.test"}
	odd.Credentials.DockerConfig = []string{"/a \"b\"\\\t\n\x1b\x7f/é\u202e\U0001f600"}
	odd.Credentials.Realms = []string{"auth.test", "auth.test:5001", "[::1]:80", "auth"}
	odd.Credentials.HelperTimeout = time.Hour + time.Millisecond
	odd.Nested.Annotations, odd.Nested.Properties = []string{"a", "b'c"}, []string{}
	odd.Gateway.Address, odd.Gateway.MetricsAddress = "127.0.0.1:0", "localhost:0"
	odd.Gateway.UpstreamTimeout, odd.Gateway.MaxMemory = 1500*time.Millisecond, 1<<30
	odd.Gateway.Grace, odd.Gateway.Prefetch = 0, 0
	odd.Log = Log{"debug", "json"}
	front, both := defaults(), defaults()
	front.Serve.Certificate, front.Serve.Registries = "/x/pem", []string{"bundles.test=reg.test"}
	both.Gateway.Mode, both.Gateway.Registries = "pod", []string{"reg.test"}
	both.Serve = Serve{
		Listen: "[::1]:0", Certificate: "/x/\"pem\"", Registries: []string{"bundles.test:8443=reg.test:5000", "[::1]:8443=127.0.0.1:5000"},
		Allow: []string{"reg.test:5000/**"}, SealKeys: []string{"/x/new", "/x/old"}, Redirects: "follow", Proxies: []string{"10.0.0.0/8", "fd00::1"},
		MaxRequests: 1, MaxConnections: 8, MaxMemory: 1 << 30, UpstreamTimeout: time.Minute, MetricsAddress: ":9090",
	}
	return []*Config{node, pod, odd, front, both}
}

func TestRender(t *testing.T) {
	for _, c := range samples() {
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		again, err := Parse("config.toml", []byte(c.Render()))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s\nis %+v, %v", c.Render(), again, err)
		}
	}
}

// TestRenderDefault: what must be said stands in a comment, ready to be used.
func TestRenderDefault(t *testing.T) {
	text := defaults().Render()
	_, err := Parse("config.toml", []byte(text))
	if err == nil || strings.Count(err.Error(), "is missing") != 2 {
		t.Errorf("%v", err)
	}
	used := text
	for _, line := range []string{"mode = \"node\"\n", "registries = [\"registry.example.com\"]\n"} {
		if !strings.Contains(text, "\n# "+line) {
			t.Errorf("no %q in\n%s", line, text)
		}
		used = strings.Replace(used, "\n# "+line, "\n"+line, 1)
	}
	want := Default()
	want.Gateway.Mode, want.Gateway.Registries = "node", []string{"registry.example.com"}
	if c, err := Parse("config.toml", []byte(used)); err != nil || !reflect.DeepEqual(*c, want) {
		t.Errorf("%+v, %v", c, err)
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > 120 {
			t.Errorf("line %d has %d columns", i+1, len(line))
		}
	}
}

func TestRenderPod(t *testing.T) {
	text := samples()[1].Render()
	if !strings.Contains(text, "\n# docker_config = [") || strings.Contains(text, "\ndocker_config") {
		t.Error(text)
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 20 * time.Hour: "20h",
		time.Hour + time.Second: "1h0m1s", 10 * time.Millisecond: "10ms", -time.Minute: "-1m",
	} {
		if has := durationText(d); has != want {
			t.Errorf("%s: %s, want %s", d, has, want)
		}
	}
}
