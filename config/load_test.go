package config

import (
	"strings"
	"testing"
	"time"
)

const minimal = "[gateway]\nmode = \"node\"\nregistries = [\"reg.test\"]\n"

func TestParse(t *testing.T) {
	c, err := Parse("config.toml", []byte(minimal+"upstream_timeout = \"10s\"\n[nested]\nmax_depth = 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if c.Gateway.UpstreamTimeout != 10*time.Second || c.Nested.MaxDepth != 3 || c.Gateway.Mode != "node" {
		t.Errorf("%+v", c)
	}
	if c.Gateway.Address != want.Gateway.Address || c.Nested.MaxEntries != want.Nested.MaxEntries || c.Gateway.Grace != want.Gateway.Grace {
		t.Errorf("defaults are lost: %+v", c)
	}
}

func TestRefused(t *testing.T) {
	for text, words := range map[string][]string{
		"":                                                         {"gateway.mode", "gateway.registries"},
		"[gateway]\nmode = \"both\"\n":                             {"node or pod", "gateway.registries"},
		minimal + "unheard_of = \"x\"\n":                           {"unheard_of"},
		minimal + "address = 7\n":                                  {"config.toml:4:"},
		minimal + "address = \":7117\"\n":                          {"gateway.address"},
		minimal + "address = \"10.0.0.1:7117\"\n":                  {"gateway.address"},
		minimal + "upstream_timeout = \"30s\"\n":                   {"less than containerd's"},
		minimal + "grace = \"soon\"\n":                             {"gateway.grace", "duration"},
		minimal + "redirects = \"no\"\n":                           {"pass or follow"},
		minimal + "hosts_dir = \"/etc/containerd/certs.d/\"\n":     {"leads back"},
		minimal + "state_dir = \"state\"\n":                        {"absolute"},
		minimal + "allow = [\"reg.test\"]\n":                       {"gateway.allow"},
		"version = 2\n" + minimal:                                  {"version 1"},
		"[gateway]\nmode = \"node\"\nregistries = [\"a/b\"]\n":     {"host or host:port"},
		"[gateway]\nmode = \"node\"\nregistries = [\"https://a\"]": {"host or host:port"},
	} {
		_, err := Parse("config.toml", []byte(text))
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %v, want %q", text, err, word)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse("config.toml", []byte(text)); err == nil && c.Check() != nil {
			t.Errorf("%q is accepted: %v", text, c.Check())
		}
	})
}
