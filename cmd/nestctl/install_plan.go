package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nestedoci/nested/config"
)

// planner finds out which files an installation wants. Nothing is written
// before all of them are known.
type planner struct {
	installer
	options installOptions
	given   func(flag string) bool // flags on the command line
	again   bool                   // the configuration stays
	// keepUnits leaves the units as they are.
	keepUnits bool
	program   string
	now       time.Time
	notes     []string // for whoever installs

	certificates config.Certificates
	until        time.Time // when they end
}

// site is a registry's place in containerd's directory.
type site struct {
	registry string
	dir      string // where our hosts.toml is
	admin    []byte // what the administrator has for the registry, otherwise empty
	adminDir string // to which relative files in it refer
	found    *contents
}

func (s site) hosts() string { return filepath.Join(s.dir, "hosts.toml") }

// adminName is the administrator's file, for errors.
func (s site) adminName() string { return filepath.Join(cmp.Or(s.adminDir, s.dir), "hosts.toml") }

// adminText is what the administrator has, for a hosts.toml in the registry's
// own directory.
func (s site) adminText() []byte {
	if s.adminDir == s.dir {
		return s.admin
	}
	return config.RebaseHosts(s.admin, s.adminDir)
}

// plan lists the files of an installation in the order of writing: at no time
// does hosts.toml name a file that is not there or that the gateway does not
// know, nor the gateway show a certificate that the hosts.toml in force does
// not trust.
func (p *planner) plan() ([]file, error) {
	configuration, err := p.planConfig()
	if err != nil {
		return nil, err
	}
	sites, err := p.sites()
	if err != nil {
		return nil, err
	}
	if err = p.planCertificates(); err != nil {
		return nil, err
	}
	hosts, err := p.planHosts(sites)
	if err != nil {
		return nil, err
	}
	upstream, err := p.planUpstream(sites)
	if err != nil {
		return nil, err
	}
	services, err := p.planUnits()
	if err != nil {
		return nil, err
	}
	clients, err := p.clientFiles(siteDirs(sites))
	if err != nil {
		return nil, err
	}
	return slices.Concat(configuration, upstream, clients, p.caFile(), hosts, p.gatewayFile(), services), nil
}

func siteDirs(sites []site) []string {
	var dirs []string
	for _, s := range sites {
		dirs = append(dirs, s.dir)
	}
	return dirs
}

// hasUnits tells whether units are installed.
func (p *planner) hasUnits() bool {
	_, ok := p.record.entry(filepath.Join(unitDir, unitNames()[0]))
	return ok
}

// sites finds the place of each registry in each directory of containerd's.
func (p *planner) sites() ([]site, error) {
	var all []site
	for _, certs := range p.options.ContainerdCerts {
		for _, registry := range p.options.Registries {
			s, err := p.site(certs, registry)
			if err != nil {
				return nil, err
			}
			for _, other := range all {
				if p.sameDir(s.dir, other.dir) {
					return nil, fmt.Errorf("%s and %s: are one directory; give each registry its own", other.dir, s.dir)
				}
			}
			all = append(all, s)
		}
	}
	return all, nil
}

func (p *planner) sameDir(a, b string) bool {
	one, err := p.disk.root.Stat(p.disk.name(a))
	if err != nil {
		return false
	}
	other, err := p.disk.root.Stat(p.disk.name(b))
	return err == nil && os.SameFile(one, other)
}

// site finds the directory that containerd takes for a registry. Where that is
// the one that all registries share, or none, the registry gets its own.
func (p *planner) site(certs, registry string) (site, error) {
	s := site{registry: registry, dir: filepath.Join(certs, registry)}
	for _, name := range config.HostDirs(registry) {
		dir := filepath.Join(certs, name)
		there, err := p.disk.isDir(dir)
		if err != nil {
			return site{}, err
		}
		if !there {
			continue
		}
		if name != "_default" {
			s.dir = dir
		}
		ours, err := p.onlyOurs(dir)
		if err != nil {
			return site{}, err
		}
		if ours {
			continue
		}
		s.adminDir = dir
		s.found, s.admin, err = p.adminHosts(registry, dir)
		return s, err
	}
	return s, nil
}

// onlyOurs tells whether we made a directory, and the hosts.toml in it has
// nothing of anybody's before us.
func (p *planner) onlyOurs(dir string) (bool, error) {
	if !slices.Contains(p.record.Dirs, dir) {
		return false, nil
	}
	path := filepath.Join(dir, "hosts.toml")
	current, err := p.disk.read(path)
	if err != nil {
		return false, err
	}
	e, ok := p.record.entry(path)
	mine := current == nil || ok && e.ours(current) || p.isEdited(path, current)
	return mine && e.Original == nil, nil
}

// adminHosts reads what an administrator has in a directory: hosts.toml or,
// without one, certificates in Docker's layout.
func (p *planner) adminHosts(registry, dir string) (*contents, []byte, error) {
	path := filepath.Join(dir, "hosts.toml")
	found, err := p.disk.read(path)
	if err != nil {
		return nil, nil, err
	}
	if e, ok := p.record.entry(path); ok && (found == nil || e.ours(found)) {
		found = e.before(found)
	}
	if found != nil && len(found.Data) > 0 {
		return found, found.Data, nil
	}
	names, err := p.disk.list(dir)
	if err != nil {
		return nil, nil, err
	}
	return nil, config.DockerHosts(registry, names), nil
}

// gatewayHost is the gateway's place in a hosts.toml.
func (p *planner) gatewayHost() config.GatewayHost { return p.hostWith(p.certificates.ID()) }

// hostWith is its place with the certificates of an ID.
func (p *planner) hostWith(id string) config.GatewayHost {
	return config.NewGatewayHost(p.options.Address, id)
}

// planHosts puts the gateway into the hosts.toml of each registry.
func (p *planner) planHosts(sites []site) ([]file, error) {
	var all []file
	for _, s := range sites {
		f, err := p.hostsFile(s)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (p *planner) hostsFile(s site) (file, error) {
	current, err := p.disk.read(s.hosts())
	if err != nil {
		return file{}, err
	}
	if p.isEdited(s.hosts(), current) {
		return p.renamed(s.hosts(), current)
	}
	text, err := p.gatewayHost().Render(s.adminName(), s.registry, s.adminText())
	if err != nil {
		return file{}, err
	}
	c := newContents(text, 0o644)
	if s.found != nil {
		c.Mode, c.UID, c.GID = s.found.Mode, s.found.UID, s.found.GID
	}
	e, ok := p.record.entry(s.hosts())
	replaced := ok && current != nil && !e.ours(current) && !e.untouched(current)
	return file{path: s.hosts(), contents: c, replaced: replaced}, nil
}

// isEdited tells whether somebody has changed a hosts.toml of ours and left
// our mark and our certificates in it.
func (p *planner) isEdited(path string, current *contents) bool {
	e, ok := p.record.entry(path)
	return ok && current != nil && !e.ours(current) && !e.untouched(current) &&
		config.HasMarker(current.Data) && p.namesOurs(current)
}

// renamed keeps a hosts.toml that somebody has changed, with the names of the
// certificates that are in force.
func (p *planner) renamed(path string, current *contents) (file, error) {
	host, text := p.gatewayHost(), string(current.Data)
	for _, name := range p.recorded("/nested-*.pem") {
		to := host.Client
		if strings.HasSuffix(name, "-ca.pem") {
			to = host.CA
		}
		text = strings.ReplaceAll(text, `"`+filepath.Base(name)+`"`, `"`+to+`"`)
	}
	f := file{path: path, contents: *current, edited: current}
	f.Data = []byte(text)
	if err := host.CheckFirst(path, f.Data); err != nil {
		return file{}, fmt.Errorf("%w; the file was edited since it was installed: put this right, or take the gateway out and run this again", err)
	}
	return f, nil
}

// recorded lists the recorded paths whose end matches a pattern.
func (p *planner) recorded(pattern string) []string {
	var all []string
	for _, e := range p.record.Files {
		if ok, err := filepath.Match(pattern, "/"+filepath.Base(e.Path)); ok && err == nil {
			all = append(all, e.Path)
		}
	}
	return all
}

// planUpstream copies what administrators have for the registries to where
// the gateway looks for its own way upstream. It has one way to a registry: of
// several directories the first that says something about it counts.
func (p *planner) planUpstream(sites []site) ([]file, error) {
	var all []file
	taken := map[string]site{}
	for _, s := range sites {
		text, err := p.gatewayHost().Upstream(s.adminName(), s.registry, s.adminDir, s.admin)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		if first, ok := taken[s.registry]; ok {
			if !sameLines(first.admin, s.admin) {
				p.notes = append(p.notes, fmt.Sprintf("the gateway goes by %s; %s says something else", first.adminName(), s.adminName()))
			}
			continue
		}
		taken[s.registry] = s
		path := filepath.Join(config.Default().Gateway.HostsDir, filepath.Base(s.dir), "hosts.toml")
		all = append(all, file{path: path, contents: newContents(text, 0o600)})
	}
	return all, nil
}
