package node

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
)

// upstreamText is a table as the gateway's hosts.toml for the registry; empty
// when the table says nothing but its name.
func (i installed) upstreamText(table registriesconf.Registry, registry string) ([]byte, error) {
	var all []config.Host
	endpoints := slices.Clone(table.Mirrors)
	if !table.Blocked {
		endpoints = append(endpoints, table.Endpoint)
	}
	for n, e := range endpoints {
		if table.DigestOnly && n < len(table.Mirrors) {
			e.PullFrom = "digest-only"
		}
		hosts, err := i.hostsAt(e)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			if !slices.ContainsFunc(all, func(other config.Host) bool { return other.URL == h.URL }) {
				all = append(all, h)
			}
		}
	}
	last := len(all) - 1
	hosts := config.Hosts{Hosts: all[:last], Server: all[last]}
	if !table.Blocked && table.Location == registry && hosts.Server.Plain {
		hosts.Server.URL = "" // with containerd's defaults, which differ for localhost
	}
	return hosts.Render(), nil
}

// hostsAt is an endpoint as hosts of a hosts.toml, one for each scheme.
func (i installed) hostsAt(e registriesconf.Endpoint) ([]config.Host, error) {
	h, err := i.certificatesFor(e.Host())
	if err != nil {
		return nil, err
	}
	at := e.Location
	if rest, ok := strings.CutPrefix(at, "docker.io"); ok && (rest == "" || rest[0] == '/') {
		at = "registry-1.docker.io" + rest
	}
	if host, path, ok := strings.Cut(at, "/"); ok {
		at = host + "/v2/" + path
	}
	if e.PullFrom == "digest-only" {
		h.Capabilities = []string{"pull"} // without resolve: not by tag
	}
	h.URL, h.SkipVerify = "https://"+at, e.Insecure
	h.Plain = len(h.CA)+len(h.Client)+len(h.Capabilities) == 0 && !h.SkipVerify && !strings.Contains(at, "/")
	if !e.Insecure {
		return []config.Host{h}, nil
	}
	return []config.Host{h, {URL: "http://" + at, Capabilities: h.Capabilities}}, nil
}

// certificatesFor are the certificates with which containers/image asks a host:
// those of the first directory that exists.
func (i installed) certificatesFor(host string) (config.Host, error) {
	for _, certs := range []string{containersCerts, "/etc/docker/certs.d"} {
		dir := filepath.Join(certs, host)
		there, err := i.disk.isDir(dir)
		if err != nil {
			return config.Host{}, err
		}
		if !there {
			continue
		}
		names, err := i.disk.list(dir)
		if err != nil {
			return config.Host{}, err
		}
		hosts, err := config.ParseHosts(dir, config.RebaseHosts(config.DockerHosts(host, names), dir))
		return config.Host{CA: hosts.Server.CA, Client: hosts.Server.Client}, err
	}
	return config.Host{}, nil
}

// CheckContainers lists the files that follow from an administrator's for podman
// and its like, and that the next installation or renewal will change, because
// those have changed since the last.
func CheckContainers(root string) (changed []string, err error) {
	d, err := openDisk(root)
	if err != nil {
		return nil, err
	}
	defer d.close()
	d.follow(registriesconf.Dir)
	i := installed{disk: d}
	if i.record, err = loadRecord(d); err != nil {
		return nil, err
	}
	d.follow(i.record.Options.HostsDirs()...)
	p, err := i.planContainers(i.record.Options)
	if err != nil {
		return nil, err
	}
	files, err := i.following(p)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		current, err := d.read(f.path)
		if err != nil {
			return nil, err
		}
		if current == nil || !config.SameHosts(current.Data, f.Data) {
			changed = append(changed, f.path)
		}
	}
	return changed, nil
}

// following are the files that follow from an administrator's: the gateway's own
// hosts.toml files, and the drop-in.
func (i installed) following(p containersPlan) ([]file, error) {
	o := i.record.Options
	if !slices.Contains(o.For, Containers) {
		return nil, nil
	}
	sites, err := i.sites(o)
	if err != nil {
		return nil, err
	}
	files, _, err := upstreamFiles(slices.Concat(sites, p.sites), config.GatewayHost{Address: o.Address})
	if err != nil {
		return nil, err
	}
	for _, path := range i.record.named("hosts.toml") {
		isUpstream := strings.HasPrefix(path, filepath.Clean(config.Default().Gateway.HostsDir)+"/")
		if isUpstream && !slices.ContainsFunc(files, func(f file) bool { return f.path == path }) {
			files = append(files, file{path: path}) // for nothing now
		}
	}
	dropIn, err := i.dropIn(p)
	return append(files, dropIn), err
}
