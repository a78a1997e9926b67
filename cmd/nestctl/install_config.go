package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
)

// config is the gateway's configuration.
func (o *installOptions) config() *config.Config {
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

// planConfig writes the configuration, unless somebody has one of their own:
// that is kept when it says what the flags say.
func (p *planner) planConfig() ([]file, error) {
	current, err := p.disk.read(config.Path)
	if err != nil {
		return nil, err
	}
	e, recorded := p.record.entry(config.Path)
	if p.again && current != nil {
		return p.keep(config.Path)
	}
	if p.again && p.options.ConfigFile != "" {
		return nil, fmt.Errorf("%s: does not exist any more; run nestctl install --config %s", config.Path, p.options.ConfigFile)
	}
	if current == nil || recorded && e.ours(current) {
		text := p.options.text
		if text == nil {
			text = []byte(p.options.config().Render())
		}
		return []file{{path: config.Path, contents: newContents(text, 0o600)}}, nil
	}
	theirs, err := config.Parse(config.Path, current.Data)
	if err != nil {
		return nil, err
	}
	if err := p.agree(theirs); err != nil {
		return nil, err
	}
	p.options.Address = theirs.Gateway.Address
	p.options.Allow = theirs.Gateway.Allow
	p.options.DockerConfig = theirs.Credentials.DockerConfig
	return p.keep(config.Path)
}

// agree tells where a configuration differs from the flags that were given,
// and from where the certificates are put.
func (p *planner) agree(theirs *config.Config) error {
	ours, g := p.options.config(), theirs.Gateway
	var errs []error
	differs := func(flag, key string, has, want []string) {
		if (p.given(flag) || p.options.text != nil || flag == "") && !slices.Equal(has, want) {
			errs = append(errs, fmt.Errorf("%s is [%s], not [%s]", key, strings.Join(has, ", "), strings.Join(want, ", ")))
		}
	}
	one := func(s string) []string { return []string{s} }
	differs("mode", "gateway.mode", one(g.Mode), one(ours.Gateway.Mode))
	differs("registry", "gateway.registries", g.Registries, ours.Gateway.Registries)
	differs("allow", "gateway.allow", g.Allow, ours.Gateway.Allow)
	differs("address", "gateway.address", one(g.Address), one(ours.Gateway.Address))
	differs("docker-config", "credentials.docker_config", theirs.Credentials.DockerConfig, ours.Credentials.DockerConfig)
	differs("", "gateway.certificate", one(g.Certificate), one(ours.Gateway.Certificate))
	differs("", "gateway.client_ca", one(g.ClientCA), one(ours.Gateway.ClientCA))
	differs("", "gateway.hosts_dir", one(g.HostsDir), one(ours.Gateway.HostsDir))
	if errs == nil {
		return nil
	}
	text := bytes.ReplaceAll([]byte(errors.Join(errs...).Error()), []byte("\n"), []byte("; "))
	return fmt.Errorf("%s: was not written by nestctl install, or was edited since: %s; make it say the same, or move it away", config.Path, text)
}
