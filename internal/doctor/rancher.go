package doctor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/node"
)

// registriesFile is the file from which k3s and RKE2 make containerd's
// configuration and hosts.toml files.
func registriesFile(program string) string { return "/etc/rancher/" + program + "/registries.yaml" }

// checkRancher looks for what k3s and RKE2 do with registries that the gateway
// does not see or do.
func (d *doctor) checkRancher(context.Context) []Problem {
	var all []Problem
	for _, program := range []string{node.K3s, node.RKE2} {
		if d.installation.Names(program) {
			all = append(all, d.checkAuths(registriesFile(program))...)
		}
	}
	return append(all, d.checkRewrites()...)
}

// checkAuths looks for credentials that k3s and RKE2 give to CRI alone. With
// them CRI also pulls by itself, which checkPull says.
func (d *doctor) checkAuths(path string) []Problem {
	var file struct {
		Configs map[string]struct {
			Auth map[string]any `yaml:"auth"`
		} `yaml:"configs"`
	}
	text, err := os.ReadFile(d.at(path))
	if absent(err) != nil {
		return []Problem{{err.Error(), "run nestctl doctor as root"}}
	}
	if yaml.Unmarshal(text, &file) != nil { // the error may quote a password
		return []Problem{{path + ": is not YAML as it should be", "correct it"}}
	}
	if d.config.Gateway.Mode != "node" {
		return nil
	}
	var all []Problem
	for _, registry := range slices.Sorted(maps.Keys(file.Configs)) {
		if len(file.Configs[registry].Auth) == 0 || !slices.Contains(d.config.Gateway.Registries, registry) {
			continue
		}
		all = append(all, Problem{
			fmt.Sprintf("%s: auth of %s goes to CRI alone: in mode node the gateway never sees it", path, registry),
			fmt.Sprintf("docker login %s, or write it into a file of credentials.docker_config (%q), and remove it from %[3]s", registry, d.config.Credentials.DockerConfig, path)})
	}
	return all
}

// checkRewrites looks for tables that only the containerd of k3s and RKE2
// applies.
func (d *doctor) checkRewrites() []Problem {
	var all []Problem
	for _, registry := range d.config.Gateway.Registries {
		path := d.hostsOf(d.config.Gateway.HostsDir, registry)
		var file struct {
			Hosts map[string]struct {
				Rewrite map[string]any `toml:"rewrite"`
			} `toml:"host"`
		}
		if readTOML(d.at(path), &file) != nil {
			continue // checkUpstream says it
		}
		for _, url := range slices.Sorted(maps.Keys(file.Hosts)) {
			if len(file.Hosts[url].Rewrite) > 0 {
				all = append(all, Problem{
					fmt.Sprintf("%s: [host.%q.rewrite] is not applied by the gateway, which asks that mirror for repositories by their own names", path, url),
					"let the mirror serve " + registry + " under its own names, and remove rewrite from registries.yaml"})
			}
		}
	}
	return all
}
