package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// The neighbours are other programs that write containerd's hosts.toml files or
// read them in their own way. docs/neighbours.md has what each of them does,
// and where that is known from.
const (
	nydusConfigs = "/etc/nydus/*.toml"
	stargzConfig = "/etc/containerd-stargz-grpc/config.toml"
	// lazyFix is for snapshotters that fetch layers themselves.
	lazyFix = "name the member's own image, or use containerd-nested (docs/neighbours.md)"
)

// checkNeighbours looks for what neighbours leave on a node. What works as it
// is gets a note.
func (d *doctor) checkNeighbours(context.Context) []Problem {
	return slices.Concat(d.checkSpegel(), d.checkDragonfly(), d.checkNydus(), d.checkStargz())
}

// checkSpegel looks for the directory into which Spegel moves everything of
// containerd's when it starts.
func (d *doctor) checkSpegel() []Problem {
	var all []Problem
	for _, certs := range d.certs {
		backup := filepath.Join(certs, "_backup")
		if info, err := os.Stat(d.at(backup)); err != nil || !info.IsDir() {
			continue
		}
		all = append(all, Problem{
			fmt.Sprintf("%s: Spegel moves what is in %s there when it starts, the gateway's hosts.toml, too", backup, certs),
			"in Spegel's Helm values set spegel.containerdMirrorAdd=false, or spegel.prependExisting=true and read docs/neighbours.md; move back what you need from there and remove it, then " + d.installCommand()})
	}
	return all
}

// dragonflyHeader is in each hosts.toml that Dragonfly's dfinit writes for a
// registry.
const dragonflyHeader = "X-Dragonfly-Registry"

// checkDragonfly looks for hosts.toml files that dfinit has written, in place of
// what was there.
func (d *doctor) checkDragonfly() []Problem {
	var all []Problem
	for registry, path := range d.allHosts() {
		text, err := os.ReadFile(d.at(path))
		if err != nil || !strings.Contains(strings.ToLower(string(text)), strings.ToLower(dragonflyHeader)) {
			continue
		}
		what := path + ": Dragonfly's dfinit writes this file anew when it starts, without the gateway"
		fix := fmt.Sprintf("leave %s out of containerRuntime.containerd.registries of dfinit", registry)
		if _, first := d.gatewayIn(path); first {
			d.note(what, fix)
			continue
		}
		all = append(all, Problem{what, fix + ", then " + d.installCommand() + ", which keeps Dragonfly's mirror after the gateway"})
	}
	return all
}

// checkNydus looks at where nydus-snapshotter finds mirrors.
func (d *doctor) checkNydus() []Problem {
	paths, err := filepath.Glob(d.at(nydusConfigs))
	if err != nil {
		return nil
	}
	var all []Problem
	for _, path := range paths {
		name := filepath.Join(filepath.Dir(nydusConfigs), filepath.Base(path))
		var file struct {
			Remote struct {
				Mirrors struct {
					Dir string `toml:"dir"`
				} `toml:"mirrors_config"`
			} `toml:"remote"`
		}
		if err := readTOML(path, &file); err != nil {
			d.note(name+": "+reason(err), "nydus-snapshotter needs it; correct it")
			continue
		}
		if dir := file.Remote.Mirrors.Dir; dir != "" && d.firstIn(dir) {
			all = append(all, Problem{
				fmt.Sprintf("%s: remote.mirrors_config.dir = %q: nydus uses the first host there, the gateway, without its client certificate, and cannot mount images of these registries", name, dir),
				"set remote.mirrors_config.dir to a directory of nydus's own, such as /etc/nydus/certs.d, and restart nydus-snapshotter"})
			continue
		}
		d.note(name+": nydus fetches layers by the name of the image, where those of a bundle's members are not", lazyFix)
	}
	return all
}

// firstIn reports whether the gateway is the first host of a registry in a
// directory.
func (d *doctor) firstIn(dir string) bool {
	return slices.ContainsFunc(d.config.Gateway.Registries, func(registry string) bool {
		_, first := d.gatewayIn(d.hostsOf(dir, registry))
		return first
	})
}

// checkStargz looks at the mirrors of stargz-snapshotter.
func (d *doctor) checkStargz() []Problem {
	var file struct {
		Resolver struct {
			Host map[string]struct {
				Mirrors []struct {
					Host string `toml:"host"`
				} `toml:"mirrors"`
			} `toml:"host"`
		} `toml:"resolver"`
	}
	if _, err := os.Stat(d.at(filepath.Dir(stargzConfig))); err != nil {
		return nil
	}
	if err := readTOML(d.at(stargzConfig), &file); err != nil && !os.IsNotExist(err) {
		d.note(stargzConfig+": "+reason(err), "stargz-snapshotter needs it; correct it")
		return nil
	}
	var all []Problem
	for _, registry := range d.config.Gateway.Registries {
		for _, mirror := range file.Resolver.Host[registry].Mirrors {
			if d.host().Is(mirror.Host) {
				all = append(all, Problem{
					fmt.Sprintf("%s: the gateway is a mirror of %s: stargz-snapshotter asks it without TLS, and has no client certificate for it", stargzConfig, registry),
					"remove that mirror, and restart stargz-snapshotter"})
			}
		}
	}
	if all == nil {
		d.note(stargzConfig+": stargz-snapshotter reads no hosts.toml and fetches layers by the name of the image, where those of a bundle's members are not; containerd then pulls them through the gateway, not lazily", lazyFix)
	}
	return all
}

// readTOML reads a file of another program's.
func readTOML(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return toml.Unmarshal(text, into)
}
