package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// addBuildKit is the command that prints what makes buildkitd use the gateway.
func (d *doctor) addBuildKit() string {
	return d.installFor(node.BuildKit) + " prints what to add; restart buildkitd"
}

// checkBuildKit looks at buildkitd's configuration. That buildkitd does not use
// the gateway at all is a problem only where it was installed for it.
func (d *doctor) checkBuildKit(context.Context) []Problem {
	path := node.BuildKitConfig
	text, err := os.ReadFile(d.at(path))
	if errors.Is(err, fs.ErrNotExist) && !d.installation.Names(node.BuildKit) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.stops(path, "", Problem{err.Error(), "run nestctl doctor as root"})
	}
	b, err := config.ParseBuildKit(path, text)
	if err != nil {
		return d.stops(path, "", Problem{err.Error() + ": buildkitd does not start with it", "correct it"})
	}
	if !d.usesGateway(b) {
		p := Problem{path + ": buildkitd does not use the gateway", d.addBuildKit()}
		if d.installation.Names(node.BuildKit) {
			return d.stops(path, "", p)
		}
		d.note(p.What, p.Fix)
		return nil
	}
	var all []Problem
	if d.config.Gateway.Mode == "pod" {
		all = d.stops(path, "", Problem{path + ": mode pod cannot work, because BuildKit sends no credential to a mirror", "use mode node, or nestctl serve (docs/serve.md)"})
	}
	for _, registry := range d.config.Gateway.Registries {
		all = append(all, d.stops(path, registry, d.checkMirrors(path, registry, b.Registries[registry].Mirrors)...)...)
	}
	return append(all, d.checkBuildKitTLS(path, b)...)
}

// usesGateway reports whether the gateway is anywhere in a buildkitd.toml.
func (d *doctor) usesGateway(b config.BuildKit) bool {
	for host, r := range b.Registries {
		if d.host().Is(host) || slices.ContainsFunc(r.Mirrors, d.isMirror) {
			return true
		}
	}
	return false
}

// isMirror reports whether a mirror is the gateway, in any spelling.
func (d *doctor) isMirror(mirror string) bool { return d.host().Is(config.BuildKitMirror(mirror)) }

// checkMirrors checks that the gateway is the first mirror of a registry.
func (d *doctor) checkMirrors(path, registry string, mirrors []string) []Problem {
	at := slices.IndexFunc(mirrors, d.isMirror)
	table := fmt.Sprintf("%s: [registry.%q]", path, registry)
	switch {
	case at < 0:
		return []Problem{{table + " has no mirror " + d.host().Address + ", so that buildkitd does not use the gateway for it", d.addBuildKit()}}
	case at > 0:
		return []Problem{{fmt.Sprintf("%s: the mirror %s is before the gateway, so that buildkitd asks it first", table, mirrors[0]), "move " + d.host().Address + " to the beginning of mirrors, and restart buildkitd"}}
	case config.BuildKitMirror(mirrors[0]) != d.host().Address:
		return []Problem{{fmt.Sprintf("%s: the mirror %s is not how the gateway's table is named", table, mirrors[0]), "write " + d.host().Address + ", and restart buildkitd"}}
	}
	return nil
}

// checkBuildKitTLS checks how buildkitd reaches the gateway.
func (d *doctor) checkBuildKitTLS(path string, b config.BuildKit) []Problem {
	settings := b.Registries[d.host().Address]
	table := fmt.Sprintf("%s: [registry.%q]", path, d.host().Address)
	var all []Problem
	stop := func(found ...Problem) { all = append(all, d.stops(path, "", found...)...) }
	switch {
	case settings.HTTP == nil:
		stop(Problem{table + " lacks http = false, without which buildkitd leaves out TLS on loopback", "set http = false, and restart buildkitd"})
	case *settings.HTTP:
		stop(Problem{table + " has http = true, and the gateway answers only over TLS", "set http = false, and restart buildkitd"})
	}
	if settings.Insecure != nil && *settings.Insecure {
		all = append(all, Problem{table + " has insecure = true, so that any process on the node can pretend to be the gateway", "remove insecure, and restart buildkitd"})
	}
	all = append(all, checkBuildKitNames(table, settings)...)
	set, found := d.buildKitSet(table, settings)
	stop(found...)
	if until, err := set.Until(); err == nil && found == nil {
		all = append(all, d.checkDue(table, until)...)
	}
	return all
}

// checkBuildKitNames looks for files beside hosts.toml, which have other names
// after a renewal: a file that is gone makes every pull fail.
func checkBuildKitNames(table string, settings config.BuildKitRegistry) []Problem {
	named := slices.Clone(settings.CA)
	for _, pair := range settings.KeyPairs {
		named = append(named, pair.Certificate, pair.Key)
	}
	var all []Problem
	for i, name := range named {
		if goes, err := filepath.Match("nested-????????*.pem", filepath.Base(name)); err == nil && goes && slices.Index(named, name) == i {
			all = append(all, Problem{fmt.Sprintf("%s names %s, which goes when the certificates are renewed: every pull of the registries fails then", table, name),
				fmt.Sprintf("set tlsconfigdir = [%q] in place of ca and keypair, and restart buildkitd", node.BuildKitCerts)})
		}
	}
	return all
}

// buildKitFiles are the files with which buildkitd reaches a host.
type buildKitFiles struct {
	ca    []string
	pairs []config.BuildKitKeyPair
}

// buildKitFiles lists them.
func (d *doctor) buildKitFiles(table string, settings config.BuildKitRegistry) (buildKitFiles, []Problem) {
	files := buildKitFiles{slices.Clone(settings.CA), slices.Clone(settings.KeyPairs)}
	var all []Problem
	for _, dir := range settings.Dirs {
		entries, err := os.ReadDir(d.at(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, Problem{table + " names " + dir + ": " + reason(err), "run nestctl doctor as root"})
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if strings.HasSuffix(path, ".crt") {
				files.ca = append(files.ca, path)
			}
			if base, ok := strings.CutSuffix(path, ".cert"); ok {
				files.pairs = append(files.pairs, config.BuildKitKeyPair{Certificate: path, Key: base + ".key"})
			}
		}
	}
	return files, all
}

// buildKitSet reads the files, and says why they cannot be read or the gateway
// accepts none of the pairs.
func (d *doctor) buildKitSet(table string, settings config.BuildKitRegistry) (set config.Certificates, all []Problem) {
	fix := fmt.Sprintf("set tlsconfigdir = [%q], and restart buildkitd", node.BuildKitCerts)
	files, all := d.buildKitFiles(table, settings)
	if all == nil && (len(files.ca) == 0 || len(files.pairs) == 0) {
		all = []Problem{{table + " names no CA or no client certificate, without which gateway and buildkitd do not trust each other", fix}}
	}
	if all != nil {
		return set, all
	}
	spoiled := func(path, why string) {
		all = append(all, Problem{fmt.Sprintf("%s: %s: %s; every pull of the registries fails", table, path, why), "nestctl install, or remove the file that is not nestctl's"})
	}
	read := func(path string) []byte {
		data, err := os.ReadFile(d.at(path))
		if err != nil {
			spoiled(path, reason(err))
		}
		return data
	}
	for _, path := range files.ca {
		set.CA = append(append(set.CA, read(path)...), '\n')
	}
	var err error
	if set.Gateway, err = os.ReadFile(d.at(d.config.Gateway.Certificate)); err != nil {
		return set, all // checkFiles says it
	}
	fits := errors.New("there is none")
	for _, pair := range files.pairs {
		certificate, key := read(pair.Certificate), read(pair.Key)
		if _, err := tls.X509KeyPair(certificate, key); err != nil && certificate != nil && key != nil {
			spoiled(pair.Certificate, err.Error())
		}
		if fits != nil {
			set.Client = slices.Concat(certificate, []byte("\n"), key)
			fits = set.Check(d.config.Gateway.Address, d.Now)
		}
	}
	if all == nil && fits != nil {
		all = []Problem{{fmt.Sprintf("%s: gateway and buildkitd do not trust each other by its certificates: %s", table, fits), fix}}
	}
	return set, all
}
