package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/registriesconf"
	"github.com/nestedoci/nested/remotes/gateway"
)

// checkContainers looks at the files in which podman, buildah, skopeo and CRI-O
// find their mirrors.
func (d *doctor) checkContainers(context.Context) []Problem {
	if !d.installation.Names(node.Containers) {
		return nil
	}
	files, err := registriesconf.Read(registriesDisk{d}, "")
	if err != nil {
		return d.stops(registriesconf.Dir, "", problemsOf(err, "run nestctl doctor as root")...)
	}
	var all []Problem
	d.noteOwnRegistries(files)
	tables := registriesconf.Merge(files)
	for _, registry := range d.config.Gateway.Registries {
		all = append(all, d.checkMirror(tables, registry)...)
	}
	if all != nil {
		return all // which explains what follows
	}
	changed, err := node.CheckContainers(d.Root)
	if err != nil {
		return problemsOf(err, "correct it, or run nestctl doctor as root")
	}
	for _, path := range slices.DeleteFunc(changed, d.followsHosts) {
		all = append(all, Problem{path + " is not what follows from the files in " + registriesconf.Dir + ", which have changed since it was installed", "nestctl install, then " + d.reload()})
	}
	return all
}

// followsHosts reports whether a hosts.toml of the gateway's is not what follows
// from another program's, of which [doctor.checkUpstream] says that it has changed.
func (d *doctor) followsHosts(path string) bool {
	dir := filepath.Dir(path)
	return filepath.Dir(dir) == filepath.Clean(d.config.Gateway.HostsDir) && slices.ContainsFunc(d.config.Gateway.Registries, func(registry string) bool {
		_, _, changed := d.upstreamOf(registry)
		return changed != "" && slices.Contains(config.HostDirs(registry), filepath.Base(dir))
	})
}

// checkMirror checks that the gateway is the first mirror of a registry.
func (d *doctor) checkMirror(tables registriesconf.Config, registry string) []Problem {
	table, found := tables.Find(registry)
	location := d.config.Gateway.Address + "/" + gateway.InPath(registry)
	switch {
	case found && d.isMirrorOf(table, registry):
		// A table for the address counts for the mirror, too.
		own, _ := tables.Find(location)
		if own.Blocked {
			return d.stops(registriesconf.Dir, registry, Problem{fmt.Sprintf("%s blocks %s, and with it the gateway, which podman and its like pass by", own.File, own.Prefix), "remove blocked"})
		}
		if own.Insecure || table.Mirrors[0].Insecure {
			return []Problem{{fmt.Sprintf("%s: the mirror %s is insecure, so that any process on the node can pretend to be the gateway", cmp.Or(own.File, table.File), location), "remove insecure"}}
		}
		for _, other := range tables.Below(registry) {
			d.notesStop(registriesconf.Dir, other.Prefix, fmt.Sprintf("%s has a table for %s: pulls below that do not go through the gateway", other.File, other.Prefix), "remove the table if they should")
		}
		return nil
	case found && table.Blocked && len(table.Mirrors) == 0:
		d.notesStop(registriesconf.Dir, registry, fmt.Sprintf("%s blocks %s for podman and its like", table.File, registry), "remove blocked if they should pull from it")
		return nil
	case !node.IsInPath(registry):
		d.notesStop(registriesconf.Dir, registry, registry+" cannot be in a path, so that podman and its like do not use the gateway for it", "use containerd for it, or nestctl serve")
		return nil
	case !found:
		return d.stops(registriesconf.Dir, registry, Problem{"no file in " + registriesconf.Dir + " names the gateway as a mirror of " + registry, d.installCommand()})
	}
	return d.stops(registriesconf.Dir, registry, Problem{fmt.Sprintf("%s: the first mirror of %s is not %s, or not for all pulls", table.File, registry, location), "move the edited file away, and " + d.installCommand()})
}

// rootHome is the home directory of root.
const rootHome = "/root"

// noteOwnRegistries notes root's own files: one in place of those in /etc,
// certificates, and drop-ins whose tables count in place of those in files.
func (d *doctor) noteOwnRegistries(files []registriesconf.File) {
	path := filepath.Join(registriesconf.UserDir(rootHome), "registries.conf")
	if _, err := os.Stat(d.at(path)); err == nil {
		d.notesStop(registriesconf.Dir, "", path+" replaces the files in "+registriesconf.Dir+" when root pulls, with the mirrors in them", "move what it says there")
	}
	path = filepath.Join(registriesconf.UserDir(rootHome), "certs.d", d.config.Gateway.Address)
	if _, err := os.Stat(d.at(path)); err == nil {
		d.notesStop(registriesconf.Dir, "", path+" replaces the gateway's certificates when root pulls", "move it away")
	}
	own, err := registriesconf.ReadUser(registriesDisk{d}, rootHome)
	for _, p := range problemsOf(err, "run nestctl doctor as root") {
		d.notesStop(registriesconf.Dir, "", p.What, p.Fix)
	}
	tables := registriesconf.Merge(slices.Concat(files, own))
	for _, registry := range d.config.Gateway.Registries {
		decides := tables.Below(registry)
		if table, found := tables.Find(registry); found && !d.isMirrorOf(table, registry) {
			decides = append(decides, table)
		}
		for _, table := range decides {
			if slices.ContainsFunc(own, func(f registriesconf.File) bool { return f.Path == table.File }) {
				meant := registry // a wildcard's prefix is none of a repository's name
				if strings.HasPrefix(table.Prefix, registry+"/") {
					meant = table.Prefix
				}
				d.notesStop(registriesconf.Dir, meant, fmt.Sprintf("%s has a table for %s, which counts in place of the gateway's when root pulls", table.File, table.Prefix), "move what it says to "+registriesconf.Dir+", and "+d.installCommand())
			}
		}
	}
}

// isMirrorOf reports whether a registry's table has the gateway as the first
// mirror, for all pulls.
func (d *doctor) isMirrorOf(table registriesconf.Registry, registry string) bool {
	return len(table.Mirrors) > 0 && table.Mirrors[0].Location == d.config.Gateway.Address+"/"+gateway.InPath(registry) &&
		table.Mirrors[0].PullFrom == "" && !table.DigestOnly
}

// containersPair reads the certificates of podman and its like.
func (d *doctor) containersPair() (*pair, []Problem) {
	ca, certificate, key := node.ContainersCertificates(d.config.Gateway.Address)
	p := &pair{hosts: filepath.Dir(ca), forGroup: d.installation.AllowGroup != ""}
	return p, append(d.checkPairs(p.hosts), d.read(p, ca, [2]string{certificate, key})...)
}

// checkPairs looks for a certificate or key of somebody else's that stands alone
// or does not fit, for which these programs do not use the directory's host at
// all.
func (d *doctor) checkPairs(dir string) (all []Problem) {
	names, err := registriesDisk{d}.Names(dir)
	if err != nil {
		return problemsOf(err, "run nestctl doctor as root")
	}
	for _, name := range names {
		base, ext := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name)
		other := map[string]string{".cert": ".key", ".key": ".cert"}[ext]
		path, why := filepath.Join(dir, name), ""
		if other == "" || base == "client" {
			continue
		}
		if !slices.Contains(names, base+other) {
			why = "there is no " + base + other + " beside it"
		} else if _, err := tls.LoadX509KeyPair(d.at(path), d.at(filepath.Join(dir, base+other))); ext == ".cert" && err != nil {
			why = "cannot be used with " + base + other + ": " + reason(err)
		}
		if why != "" {
			all = append(all, Problem{path + ": " + why + ", so that podman and its like pass the gateway by", "move it away"})
		}
	}
	return all
}

// registriesDisk is the node with the files of registries.conf.
type registriesDisk struct{ *doctor }

// Names implements [registriesconf.Disk].
func (d registriesDisk) Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(d.at(dir))
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, absent(err)
}

// Data implements [registriesconf.Disk].
func (d registriesDisk) Data(path string) ([]byte, error) {
	data, err := os.ReadFile(d.at(path))
	return data, absent(err)
}
