package config

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// BuildKit is what a buildkitd.toml says about registries, each under its
// host. BuildKit sends a mirror the same path as the registry, and its name in
// the query (ns), as containerd does.
type BuildKit struct {
	Registries map[string]BuildKitRegistry `toml:"registry"`
}

// BuildKitRegistry says how BuildKit reaches a registry or a mirror.
type BuildKitRegistry struct {
	// Mirrors are asked first, in this order: host:port or host:port/path.
	Mirrors []string `toml:"mirrors"`
	// HTTP is whether TLS is left out; without it, it is on loopback.
	HTTP     *bool             `toml:"http"`
	Insecure *bool             `toml:"insecure"` // certificates are not verified
	CA       []string          `toml:"ca"`
	KeyPairs []BuildKitKeyPair `toml:"keypair"`
	// Dirs have CAs in NAME.crt and pairs in NAME.cert and NAME.key. One that
	// does not exist is skipped, while a file that is missing makes every pull
	// from the registry fail.
	Dirs []string `toml:"tlsconfigdir"`
}

// BuildKitKeyPair are the files of a client certificate and its key.
type BuildKitKeyPair struct {
	Certificate string `toml:"cert"`
	Key         string `toml:"key"`
}

// ParseBuildKit reads a buildkitd.toml. buildkitd does not start with one that
// does not parse.
func ParseBuildKit(name string, text []byte) (BuildKit, error) {
	var b BuildKit
	if err := toml.Unmarshal(text, &b); err != nil {
		return BuildKit{}, TOMLError(name, err)
	}
	return b, nil
}

// BuildKitMirror is the host of a mirror, by which its settings are found.
func BuildKitMirror(mirror string) string {
	for _, raw := range []string{mirror, "//" + mirror} { // as in BuildKit
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			return u.Host
		}
	}
	return mirror
}

// BuildKit returns the text that makes the gateway the first mirror of
// registries when it is appended to a buildkitd.toml, and as notes what an
// administrator has to change in tables that are there already. Both are empty
// when it is complete. certificates is a directory for tlsconfigdir.
func (h GatewayHost) BuildKit(name string, admin []byte, registries []string, certificates string) (add []byte, notes []string, err error) {
	found, err := ParseBuildKit(name, admin)
	if err != nil {
		return nil, nil, err
	}
	var text strings.Builder
	for _, registry := range registries {
		table, ok := found.Registries[registry]
		if ok && len(table.Mirrors) > 0 && BuildKitMirror(table.Mirrors[0]) == h.Address {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(table.Mirrors), func(m string) bool { return h.Is(BuildKitMirror(m)) })
		line := "mirrors = " + tomlText(reflect.ValueOf(append([]string{h.Address}, others...)))
		if ok {
			notes = append(notes, fmt.Sprintf("%s: in [registry.%s] set %s", name, tomlString(registry), line))
		} else {
			fmt.Fprintf(&text, "\n[registry.%s]\n  %s\n", tomlString(registry), line)
		}
	}
	const http = "http = false"
	dirs := "tlsconfigdir = " + tomlText(reflect.ValueOf([]string{certificates}))
	switch table, ok := found.Registries[h.Address]; {
	case !ok:
		fmt.Fprintf(&text, "\n[registry.%s]\n  %s # otherwise BuildKit leaves out TLS on loopback\n  %s\n", tomlString(h.Address), http, dirs)
	case table.HTTP == nil || *table.HTTP || !slices.Contains(table.Dirs, certificates):
		notes = append(notes, fmt.Sprintf("%s: in [registry.%s] set %s and %s", name, tomlString(h.Address), http, dirs))
	}
	if text.Len() == 0 {
		return nil, notes, nil
	}
	add = []byte("\n# The gateway of nested, by nestctl install --for buildkit. Restart buildkitd.\n" + strings.TrimPrefix(text.String(), "\n"))
	if _, err := ParseBuildKit(name, slices.Concat(admin, []byte("\n"), add)); err != nil {
		return nil, nil, fmt.Errorf("%s: nothing can be appended to it; write its registries as tables with a header, [registry.\"HOST\"]", name)
	}
	return add, notes, nil
}
