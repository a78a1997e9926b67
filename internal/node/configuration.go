package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
)

// configuration is the gateway's configuration. An administrator's own is kept
// when it agrees with the given options; it decides about the others.
func (i installed) configuration(w checkedOptions) (Options, []file, error) {
	current, err := i.disk.read(config.Path)
	if err != nil {
		return Options{}, nil, err
	}
	if e, ok := i.record.entry(config.Path); current == nil || ok && e.ours(current) {
		text := w.text
		if text == nil {
			text = []byte(w.config().Render())
		}
		return w.Options, configurationFile(text), nil
	}
	theirs, err := config.ParseGateway(config.Path, current.Data)
	if err != nil {
		return Options{}, nil, err
	}
	if err = w.agree(theirs); err != nil {
		return Options{}, nil, err
	}
	o := w.Options
	o.Address = theirs.Gateway.Address
	o.Allow = theirs.Gateway.Allow
	o.DockerConfig = theirs.Credentials.DockerConfig
	kept, err := i.keep(config.Path)
	return o, kept, err
}

func configurationFile(text []byte) []file {
	return []file{{path: config.Path, contents: newContents(text, 0o600)}}
}

// sameConfiguration is the existing configuration, whoever wrote it. When it is
// gone it is written again from the options.
func (i installed) sameConfiguration(o Options) ([]file, error) {
	current, err := i.disk.read(config.Path)
	switch {
	case err != nil:
		return nil, err
	case current != nil:
		return i.keep(config.Path)
	case o.ConfigFile != "":
		return nil, fmt.Errorf("%s: no longer exists; run %s", config.Path, o.Command())
	}
	return configurationFile([]byte(o.config().Render())), nil
}

// agree refuses a configuration that contradicts the given options, or the
// paths of the certificates.
func (w checkedOptions) agree(theirs *config.Config) error {
	ours, g := w.config(), theirs.Gateway
	file := w.text != nil // which says everything
	var errs []string
	differs := func(said bool, key string, has, want []string) {
		if said && !slices.Equal(has, want) {
			errs = append(errs, fmt.Sprintf("%s is [%s], not [%s]", key, strings.Join(has, ", "), strings.Join(want, ", ")))
		}
	}
	one := func(s string) []string { return []string{s} }
	differs(true, "gateway.mode", one(g.Mode), one(ours.Gateway.Mode))
	differs(true, "gateway.registries", g.Registries, ours.Gateway.Registries)
	differs(file || w.given.Allow != nil, "gateway.allow", g.Allow, ours.Gateway.Allow)
	differs(file || w.given.Address != "", "gateway.address", one(g.Address), one(ours.Gateway.Address))
	differs(file || w.given.DockerConfig != nil, "credentials.docker_config", theirs.Credentials.DockerConfig, ours.Credentials.DockerConfig)
	differs(true, "gateway.certificate", one(g.Certificate), one(ours.Gateway.Certificate))
	differs(true, "gateway.client_ca", one(g.ClientCA), one(ours.Gateway.ClientCA))
	differs(true, "gateway.hosts_dir", one(g.HostsDir), one(ours.Gateway.HostsDir))
	if errs == nil {
		return nil
	}
	return fmt.Errorf("%s: was not written by nestctl install, or has been edited since: %s; make it agree, or move it away", config.Path, strings.Join(errs, "; "))
}
