package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/remotes/auth"
)

// units are the services of the programs that use the gateway.
var units = map[string][]string{
	node.Containerd: {"containerd.service"},
	node.Docker:     {"docker.service"},
	node.K3s:        {"k3s.service", "k3s-agent.service"},
	node.RKE2:       {"rke2-server.service", "rke2-agent.service"},
}

// checkProxy looks for a proxy that is set for a program and not for the
// gateway.
func (d *doctor) checkProxy(context.Context) []Problem {
	var all []Problem
	for _, program := range d.installation.For {
		for _, unit := range units[program] {
			all = append(all, d.checkProxyOf(program, unit)...)
		}
	}
	return all
}

func (d *doctor) checkProxyOf(program, unit string) []Problem {
	ours := d.environment("nested-gateway.service")
	theirs := d.environment(unit)
	var all []Problem
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if upper := strings.ToUpper(name); upper != "HTTPS_PROXY" && upper != "NO_PROXY" || hasVariable(ours, name) {
			continue
		}
		all = append(all, Problem{
			fmt.Sprintf("%s is set for %s, in %s, and not for nested-gateway.service", name, program, theirs[name]),
			"systemctl edit nested-gateway, add the line Environment= from there below [Service], systemctl restart nested-gateway"})
	}
	return all
}

// hasVariable reports whether a variable is set, in either spelling.
func hasVariable(variables map[string]string, name string) bool {
	return variables[strings.ToUpper(name)]+variables[strings.ToLower(name)] != ""
}

// environment returns the variables that the files of a unit set, with the file
// that sets them.
func (d *doctor) environment(unit string) map[string]string {
	variables := map[string]string{}
	paths := []string{filepath.Join(node.UnitDir, unit)}
	dropIns, err := filepath.Glob(d.at(filepath.Join(node.UnitDir, unit+".d", "*.conf")))
	if err == nil {
		for _, path := range dropIns {
			paths = append(paths, filepath.Join(node.UnitDir, unit+".d", filepath.Base(path)))
		}
	}
	for _, path := range paths {
		text, err := os.ReadFile(d.at(path))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if words, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
				setVariables(variables, words, path)
			}
		}
	}
	return variables
}

// setVariables reads NAME=VALUE..., with or without quotes. An empty assignment
// resets all that were set before.
func setVariables(variables map[string]string, words, path string) {
	if words == "" {
		clear(variables)
	}
	for word := range strings.FieldsSeq(words) {
		name, value, ok := strings.Cut(strings.Trim(word, `"'`), "=")
		if ok && value != "" {
			variables[name] = path
		}
	}
}

// checkCredentials looks up the credential for each registry and REF, which
// runs the helpers. Having none is not a problem: content may be public.
func (d *doctor) checkCredentials(ctx context.Context) []Problem {
	if d.config.Gateway.Mode != "node" {
		return nil
	}
	var files []string
	for _, path := range d.config.Credentials.DockerConfig {
		files = append(files, d.at(path))
	}
	stores := auth.NewStores(auth.StoresOptions{Files: files, HelperTimeout: d.config.Credentials.HelperTimeout})
	var all []Problem
	for _, name := range d.repositories() {
		repository, err := auth.ParseRepository(name)
		if err == nil {
			_, err = stores.Lookup(ctx, repository)
		}
		var lookup *auth.LookupError
		if errors.As(err, &lookup) {
			err = lookup.Err // one for all repositories
		}
		all = append(all, problemsOf(err, "correct the file, or log in again")...)
	}
	return all
}

// repositories are those for which credentials are looked up: one of each
// registry, and the REFs'.
func (d *doctor) repositories() []string {
	var all []string
	for _, registry := range d.config.Gateway.Registries {
		all = append(all, registry+"/x")
	}
	for _, ref := range d.References {
		all = append(all, ref.Repository().String())
	}
	return all
}
