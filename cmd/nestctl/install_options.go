package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// installOptions are what an installation is for. They are recorded, so that
// renewals need no flags.
type installOptions struct {
	Mode            string      `json:"mode"`
	Registries      []string    `json:"registries"`
	Allow           []string    `json:"allow,omitempty"`
	ContainerdCerts directories `json:"containerd_certs"`
	Address         string      `json:"address"`
	DockerConfig    []string    `json:"docker_config,omitempty"`
	NoSystemd       bool        `json:"no_systemd,omitempty"`
	ConfigFile      string      `json:"config_file,omitempty"` // from which the configuration was taken

	text []byte // of that file
}

// directories have hosts.toml files, each those of one containerd. A record has
// one as a string, as earlier versions write it.
type directories []string

// MarshalJSON implements [json.Marshaler].
func (d directories) MarshalJSON() ([]byte, error) {
	if len(d) == 1 {
		return json.Marshal(d[0])
	}
	return json.Marshal([]string(d))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *directories) UnmarshalJSON(text []byte) error {
	var one string
	if string(text) == "null" {
		return nil
	}
	if json.Unmarshal(text, &one) == nil {
		*d = directories{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(d))
}

// configFlags say what a configuration says.
var configFlags = []string{"mode", "registry", "allow", "address", "docker-config"}

// checkSource looks whether flags contradict each other about what to install.
func (o *installOptions) checkSource(renew, again bool, given func(flag string) bool) error {
	const help = "; see nestctl install --help"
	sources := configFlags
	if renew || again {
		sources = append(slices.Clone(configFlags), "config", "containerd-certs", "no-systemd")
	}
	for _, flag := range sources {
		switch {
		case (renew || again) && given(flag):
			return usage.Errorf("--%s: --again and --renew go by what was installed before"+help, flag)
		case o.ConfigFile != "" && given(flag):
			return usage.Errorf("--%s: --config says it"+help, flag)
		}
	}
	switch {
	case renew && again:
		return usage.Errorf("--again renews, too; leave out --renew" + help)
	case given("every") && !renew && !again:
		return usage.Errorf("--every: needs --again or --renew" + help)
	}
	return nil
}

// load takes what a configuration file says.
func (o *installOptions) load() error {
	if o.ConfigFile == "" {
		return nil
	}
	text, err := os.ReadFile(o.ConfigFile)
	if err != nil {
		return err
	}
	c, err := config.Parse(o.ConfigFile, text)
	if err != nil {
		return err
	}
	g, defaults := c.Gateway, config.Default().Gateway
	if g.Certificate != defaults.Certificate || g.ClientCA != defaults.ClientCA || g.HostsDir != defaults.HostsDir {
		return fmt.Errorf("%s: gateway.certificate, gateway.client_ca and gateway.hosts_dir are where nestctl install writes; leave them out", o.ConfigFile)
	}
	o.text, o.Mode, o.Registries, o.Allow, o.Address = text, g.Mode, g.Registries, g.Allow, g.Address
	if g.Mode == "node" {
		o.DockerConfig = c.Credentials.DockerConfig
	}
	return nil
}

// check looks at the flags.
func (o *installOptions) check() error {
	const help = "; see nestctl install --help"
	if o.Mode != "node" && o.Mode != "pod" {
		return usage.Errorf("--mode %q: must be %s"+help, o.Mode, modesHelp)
	}
	if len(o.Registries) == 0 {
		return usage.Errorf("--registry: name the registries whose bundles are to be pulled" + help)
	}
	o.Registries = appendNew(nil, o.Registries)
	for _, r := range o.Registries {
		if !isRegistry(r) {
			return usage.Errorf("--registry %.64q: must be host or host:port, as references name it", r)
		}
	}
	for _, path := range slices.Concat(o.ContainerdCerts, o.DockerConfig) {
		if !filepath.IsAbs(path) {
			return usage.Errorf("path %.128q: must be absolute", path)
		}
	}
	for i, dir := range o.ContainerdCerts {
		if dir = filepath.Clean(dir); dir == filepath.Clean(config.Default().Gateway.HostsDir) {
			return usage.Errorf("--containerd-certs %s: that is the gateway's own directory; name containerd's", dir)
		}
		o.ContainerdCerts[i] = dir
	}
	c := o.config()
	if err := c.Check(); err != nil {
		return usage.Errorf("%w", err)
	}
	return nil
}

// isRegistry reports whether a string names a registry: host or host:port.
func isRegistry(s string) bool {
	parsed, err := auth.ParseRepository(s + "/x")
	return err == nil && parsed.Host() == s
}
