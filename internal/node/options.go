package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// ModesHelp says what the modes are.
const ModesHelp = "node (the node's Docker credentials, for all pods) or pod (each pod's own pull secrets)"

// Options are what to install. Empty options keep what is installed or, without
// an installation, use [config.Default]. Mode and registries are required, here
// or in the configuration file. Options are recorded, so that repeating an
// installation needs none.
type Options struct {
	Mode       string   `json:"mode"`       // node or pod
	Registries []string `json:"registries"` // each host or host:port, as references name it
	Allow      []string `json:"allow,omitempty"`
	// For are the clients, of [ClientNames], also with commas between. Those of an installation are added
	// to. A record of an earlier version has none, and is containerd's.
	For             []string    `json:"for,omitempty"`
	ContainerdCerts Directories `json:"containerd_certs"` // containerd's; given, containerd is a client
	Address         string      `json:"address"`          // of the gateway, on loopback
	DockerConfig    []string    `json:"docker_config,omitempty"`
	NoSystemd       bool        `json:"no_systemd,omitempty"`
	// AllowGroup is the name or the number of a group that may read the key of
	// podman and its like, and so use the gateway; empty for root alone.
	AllowGroup string `json:"allow_group,omitempty"`
	// ConfigFile is the gateway's configuration, which is installed as it is,
	// in place of what the other fields would configure.
	ConfigFile string `json:"config_file,omitempty"`
}

// IsZero reports whether all options are empty.
func (o Options) IsZero() bool { return reflect.ValueOf(o).IsZero() }

// Directories contain hosts.toml files, each those of one containerd. A record
// may have a single one as a string, as earlier versions wrote it.
type Directories []string

// MarshalJSON implements [json.Marshaler].
func (d Directories) MarshalJSON() ([]byte, error) {
	if len(d) == 1 {
		return json.Marshal(d[0])
	}
	return json.Marshal([]string(d))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Directories) UnmarshalJSON(text []byte) error {
	var one string
	if string(text) == "null" {
		return nil
	}
	if json.Unmarshal(text, &one) == nil {
		*d = Directories{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(d))
}

// checkedOptions are options that were checked.
type checkedOptions struct {
	Options         // with defaults in the place of what is empty
	given   Options // as the caller gave them
	text    []byte  // of the configuration file; nil without one
}

// parse checks options, and reads the configuration file that they name.
func (o Options) parse() (checkedOptions, error) {
	var err error
	if o.For, err = parseClients(o.For); err != nil {
		return checkedOptions{}, err
	}
	w := checkedOptions{Options: o, given: o}
	if o.ConfigFile != "" {
		if err = w.load(); err != nil {
			return checkedOptions{}, err
		}
	}
	w.Address = cmp.Or(w.Address, config.Default().Gateway.Address)
	w.Registries = appendNew(nil, w.Registries)
	if err = w.check(); err != nil {
		return checkedOptions{}, err
	}
	w.ContainerdCerts = nil
	for _, dir := range o.ContainerdCerts {
		w.ContainerdCerts = append(w.ContainerdCerts, filepath.Clean(dir))
	}
	return w, nil
}

// load reads the configuration file.
func (w *checkedOptions) load() error {
	for _, o := range []struct {
		option string
		said   bool
	}{
		{"mode", w.Mode != ""}, {"registry", w.Registries != nil}, {"allow", w.Allow != nil},
		{"address", w.Address != ""}, {"docker-config", w.DockerConfig != nil},
	} {
		if o.said {
			return usage.Optionf(o.option, ": %s sets it", w.ConfigFile)
		}
	}
	text, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		return err
	}
	c, err := config.ParseGateway(w.ConfigFile, text)
	if err != nil {
		return err
	}
	g, defaults := c.Gateway, config.Default().Gateway
	if g.Certificate != defaults.Certificate || g.ClientCA != defaults.ClientCA || g.HostsDir != defaults.HostsDir {
		return fmt.Errorf("%s: gateway.certificate, gateway.client_ca and gateway.hosts_dir are the paths that nestctl install writes; remove them from the file", w.ConfigFile)
	}
	w.text, w.Mode, w.Registries, w.Allow, w.Address = text, g.Mode, g.Registries, g.Allow, g.Address
	if g.Mode == "node" {
		w.DockerConfig = c.Credentials.DockerConfig
	}
	return nil
}

func (o *Options) check() error {
	if o.Mode != "node" && o.Mode != "pod" {
		return usage.Optionf("mode", " %q: must be %s", o.Mode, ModesHelp)
	}
	if len(o.Registries) == 0 {
		return usage.Optionf("registry", ": name the registries to pull bundles from")
	}
	for _, r := range o.Registries {
		if !isRegistry(r) {
			return usage.Optionf("registry", " %.64q: must be host or host:port, as references name it", r)
		}
	}
	for _, path := range slices.Concat(o.ContainerdCerts, o.DockerConfig) {
		if !filepath.IsAbs(path) {
			return usage.Errorf("path %.128q: must be absolute", path)
		}
	}
	for _, dir := range o.ContainerdCerts {
		if dir = filepath.Clean(dir); dir == filepath.Clean(config.Default().Gateway.HostsDir) {
			return usage.Optionf("containerd-certs", " %s: is the gateway's own directory; name containerd's", dir)
		}
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

// config is the gateway's configuration for the options.
func (o *Options) config() *config.Config {
	c := config.Default()
	c.Gateway.Mode = o.Mode
	c.Gateway.Registries = o.Registries
	c.Gateway.Allow = append(c.Gateway.Allow, o.Allow...)
	c.Gateway.Address = o.Address
	if len(o.DockerConfig) > 0 {
		c.Credentials.DockerConfig = o.DockerConfig
	}
	return &c
}

// Command is the shell command that installs with these options, and with
// additional registries.
func (o Options) Command(more ...string) string {
	defaults := config.Default()
	var command strings.Builder
	add := func(flag string, values ...string) {
		for _, v := range values {
			if strings.ContainsAny(v, "* '") {
				v = "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
			}
			command.WriteString(" --" + flag + " " + v)
		}
	}
	if o.ConfigFile != "" && len(more) > 0 {
		fmt.Fprintf(&command, "add %q to gateway.registries in %s, then ", more, o.ConfigFile)
	}
	command.WriteString("nestctl install")
	if o.ConfigFile != "" {
		add("config", o.ConfigFile)
	} else {
		add("mode", o.Mode)
		add("registry", appendNew(o.Registries, more)...)
		add("allow", o.Allow...)
		if o.Address != defaults.Gateway.Address {
			add("address", o.Address)
		}
	}
	if !slices.Equal(o.For, []string{Containerd}) {
		add("for", o.For...)
	}
	if !slices.Equal(o.ContainerdCerts, []string{config.ContainerdCerts}) {
		add("containerd-certs", o.ContainerdCerts...)
	}
	if o.ConfigFile == "" && o.Mode == "node" && !slices.Equal(o.DockerConfig, defaults.Credentials.DockerConfig) {
		add("docker-config", o.DockerConfig...)
	}
	if o.AllowGroup != "" {
		add("allow-group", o.AllowGroup)
	}
	if o.NoSystemd {
		command.WriteString(" --no-systemd")
	}
	return command.String()
}

// appendNew appends what is not in the list yet.
func appendNew(list, more []string) []string {
	list = slices.Clone(list)
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
