package node

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
)

// site is the place for a registry's files in a directory of containerd.
type site struct {
	registry string
	dir      string // where our hosts.toml is
	admin    []byte // the administrator's text for the registry; may be empty
	adminDir string // the directory that relative file names in it refer to
	found    *contents
	source   string // the file that the text follows from, where that is no hosts.toml
}

func (s site) hosts() string { return filepath.Join(s.dir, "hosts.toml") }

// adminName is the administrator's file, for errors.
func (s site) adminName() string {
	return cmp.Or(s.source, filepath.Join(cmp.Or(s.adminDir, s.dir), "hosts.toml"))
}

// adminText is the administrator's text, for a hosts.toml in the registry's own
// directory.
func (s site) adminText() []byte {
	if s.adminDir == s.dir {
		return s.admin
	}
	return config.RebaseHosts(s.admin, s.adminDir)
}

// sites finds the place for each registry in each directory of containerd.
func (i installed) sites(o Options) ([]site, error) {
	var all []site
	for _, certs := range i.distinct(o.HostsDirs()) {
		for _, registry := range o.Registries {
			s, err := i.site(certs, registry)
			if err == nil {
				s, err = i.withSettings(s)
			}
			if err != nil {
				return nil, err
			}
			for _, other := range all {
				if i.sameDir(s.dir, other.dir) {
					return nil, fmt.Errorf("%s and %s: are one directory; give each registry its own", other.dir, s.dir)
				}
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// distinct leaves out directories that are an earlier one, by a link: what is
// installed in that is there in both.
func (i installed) distinct(dirs []string) []string {
	var all []string
	for _, dir := range dirs {
		if !slices.ContainsFunc(all, func(earlier string) bool { return i.sameDir(earlier, dir) }) {
			all = append(all, dir)
		}
	}
	return all
}

// sameFile reports whether two paths lead to one file, by a link of a directory.
func (i installed) sameFile(a, b string) bool {
	return filepath.Base(a) == filepath.Base(b) && i.sameDir(filepath.Dir(a), filepath.Dir(b))
}

func (i installed) sameDir(a, b string) bool {
	one, err := i.disk.root.Stat(i.disk.name(a))
	if err != nil {
		return false
	}
	other, err := i.disk.root.Stat(i.disk.name(b))
	return err == nil && os.SameFile(one, other)
}

// site finds the directory that containerd uses for a registry. Where that is
// the one shared by all registries, or there is none, the registry gets its
// own.
func (i installed) site(certs, registry string) (site, error) {
	s := site{registry: registry, dir: filepath.Join(certs, registry)}
	for _, name := range config.HostDirs(registry) {
		dir := filepath.Join(certs, name)
		there, err := i.disk.isDir(dir)
		if err != nil {
			return site{}, err
		}
		if !there {
			continue
		}
		if name != "_default" {
			s.dir = dir
		}
		ours, err := i.onlyOurs(dir)
		if err != nil {
			return site{}, err
		}
		if ours {
			continue
		}
		s.adminDir = dir
		s.found, s.admin, err = i.adminHosts(registry, dir)
		return s, err
	}
	return s, nil
}

// onlyOurs reports whether we made a directory, and its hosts.toml has no
// original.
func (i installed) onlyOurs(dir string) (bool, error) {
	if !slices.Contains(i.record.Dirs, dir) {
		return false, nil
	}
	path := filepath.Join(dir, "hosts.toml")
	current, err := i.disk.read(path)
	if err != nil {
		return false, err
	}
	e, ok := i.record.entry(path)
	mine := current == nil || ok && e.ours(current) || i.isEdited(path, current)
	return mine && e.Original == nil, nil
}

// adminHosts reads an administrator's hosts.toml in a directory or, without
// one, the certificates in Docker's layout.
func (i installed) adminHosts(registry, dir string) (*contents, []byte, error) {
	path := filepath.Join(dir, "hosts.toml")
	found, err := i.disk.read(path)
	if err != nil {
		return nil, nil, err
	}
	if e, ok := i.record.entry(path); ok && (found == nil || e.ours(found)) {
		found = e.before(found)
	}
	if found != nil && len(found.Data) > 0 {
		return found, found.Data, nil
	}
	names, err := i.disk.list(dir)
	if err != nil {
		return nil, nil, err
	}
	return nil, config.DockerHosts(registry, names), nil
}

// hostsFiles adds the gateway to the hosts.toml of each registry.
func (i installed) hostsFiles(sites []site, gateway config.GatewayHost) ([]file, error) {
	var all []file
	for _, s := range sites {
		f, err := i.hostsFile(s, gateway)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (i installed) hostsFile(s site, gateway config.GatewayHost) (file, error) {
	current, err := i.disk.read(s.hosts())
	if err != nil {
		return file{}, err
	}
	if i.isEdited(s.hosts(), current) {
		return i.renamed(s.hosts(), current, gateway)
	}
	text, err := gateway.Render(s.adminName(), s.registry, s.adminText())
	if err != nil {
		return file{}, err
	}
	c := newContents(text, 0o644)
	if s.found != nil {
		c.Mode, c.UID, c.GID = s.found.Mode, s.found.UID, s.found.GID
	}
	e, ok := i.record.entry(s.hosts())
	replaced := ok && current != nil && !e.ours(current) && !e.untouched(current)
	return file{path: s.hosts(), contents: c, replaced: replaced}, nil
}

// renamed keeps a hosts.toml that was edited, with the names of the
// certificates in force.
func (i installed) renamed(path string, current *contents, gateway config.GatewayHost) (file, error) {
	text := string(current.Data)
	for _, name := range i.record.named("nested-*.pem") {
		to := gateway.Client
		if strings.HasSuffix(name, "-ca.pem") {
			to = gateway.CA
		}
		text = strings.ReplaceAll(text, `"`+filepath.Base(name)+`"`, `"`+to+`"`)
	}
	f := file{path: path, contents: *current, edited: current}
	f.Data = []byte(text)
	if err := gateway.CheckFirst(path, f.Data); err != nil {
		return file{}, fmt.Errorf("%w; the file has been edited since it was installed: fix this, or remove the gateway from it, and run this again", err)
	}
	return f, nil
}

// upstreamFiles are copies of administrators' files, for the gateway's own way
// to the registries. It has one way to each: with several directories the first
// that says something counts, and there is a note about others that differ.
func upstreamFiles(sites []site, gateway config.GatewayHost) (all []file, notes []string, err error) {
	taken := map[string]site{}
	for _, s := range sites {
		text, err := gateway.Upstream(s.adminName(), s.registry, s.adminDir, s.admin)
		if err != nil {
			return nil, nil, err
		}
		if text == nil {
			continue
		}
		if first, ok := taken[s.registry]; ok {
			if !config.SameHosts(first.admin, s.admin) {
				notes = append(notes, fmt.Sprintf("the gateway uses %s; %s differs", first.adminName(), s.adminName()))
			}
			continue
		}
		taken[s.registry] = s
		path := filepath.Join(config.Default().Gateway.HostsDir, filepath.Base(s.dir), "hosts.toml")
		all = append(all, file{path: path, contents: newContents(text, 0o600)})
	}
	return all, notes, nil
}
