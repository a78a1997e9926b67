package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// criPlugins are the names of CRI's image plugin, by the version of
// containerd's configuration.
var criPlugins = [...]string{0: "cri", 1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images", 4: "io.containerd.cri.v1.images"}

// criImages are the settings of CRI that affect how images are pulled.
type criImages struct {
	Registry struct {
		ConfigPath string         `toml:"config_path"`
		Mirrors    map[string]any `toml:"mirrors"`
		Configs    map[string]any `toml:"configs"`
		Auths      map[string]any `toml:"auths"`
	} `toml:"registry"`
	criSnapshots
	Containerd          criSnapshots `toml:"containerd"` // in versions up to 2
	ConcurrentDownloads *int         `toml:"max_concurrent_downloads"`
	ImagePullWithSyncFs bool         `toml:"image_pull_with_sync_fs"`
	UseLocalImagePull   bool         `toml:"use_local_image_pull"`
}

type criSnapshots struct {
	DisableAnnotations *bool `toml:"disable_snapshot_annotations"`
	DiscardLayers      bool  `toml:"discard_unpacked_layers"`
}

// containerdFile is a configuration of containerd's.
type containerdFile struct {
	path   string
	plugin string
	images criImages
	nested bool // it has a section of this project's plugin
}

// daemon is a containerd on the node.
type daemon struct {
	config string   // its configuration file
	certs  []string // where its hosts.toml files are installed
	in     string   // the program that it is in and that writes the file, or empty
}

// daemons are those that are installed for, or the node's own.
func (d *doctor) daemons() []daemon {
	var all []daemon
	o := d.installation
	if o.Names(node.Containerd) {
		all = append(all, daemon{config: d.ContainerdConfig, certs: o.ContainerdCerts})
	}
	for _, name := range []string{node.K3s, node.RKE2} {
		in := daemon{node.RancherDir(name) + "/config.toml", []string{node.RancherDir(name) + "/certs.d"}, name}
		if _, err := os.Stat(d.at(in.config)); slices.Contains(o.For, name) && !errors.Is(err, fs.ErrNotExist) { // else it is about to be written, as it should be
			all = append(all, in)
		}
	}
	return all
}

// restart ends a fix in a daemon's configuration.
func (c daemon) restart() string {
	if c.in == "" {
		return ", and restart containerd"
	}
	return fmt.Sprintf("; %s writes the file from %s and from templates beside it: change it there, and restart %[1]s", c.in, registriesFile(c.in))
}

// key is how a setting is named in the file.
func (f containerdFile) key(name string) string {
	return fmt.Sprintf("%s: [plugins.%q] %s", f.path, f.plugin, name)
}

// containerdFiles reads containerd's configuration and what it imports.
func (d *doctor) containerdFiles(main string) ([]containerdFile, error) {
	var all []containerdFile
	pending := []string{main}
	for len(pending) > 0 {
		path := pending[0]
		pending = pending[1:]
		if slices.ContainsFunc(all, func(f containerdFile) bool { return f.path == path }) {
			continue
		}
		text, err := os.ReadFile(d.at(path))
		if errors.Is(err, fs.ErrNotExist) && path == main {
			return []containerdFile{{path: path, plugin: criPlugins[3]}}, nil // as containerd's defaults
		}
		if err != nil {
			return nil, err
		}
		f, imports, err := parseContainerd(path, text)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
		pending = append(pending, d.imports(path, imports)...)
	}
	return all, nil
}

func parseContainerd(path string, text []byte) (containerdFile, []string, error) {
	var file struct {
		Version int            `toml:"version"`
		Imports []string       `toml:"imports"`
		Plugins map[string]any `toml:"plugins"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return containerdFile{}, nil, config.TOMLError(path, err)
	}
	if file.Version < 0 || file.Version >= len(criPlugins) {
		return containerdFile{}, nil, fmt.Errorf("%s: version %d is unknown to this nestctl; use a newer one", path, file.Version)
	}
	f := containerdFile{path: path, plugin: criPlugins[file.Version]}
	_, f.nested = file.Plugins["io.containerd.internal.v1.nested"]
	settings, ok := file.Plugins[f.plugin]
	if !ok {
		return f, file.Imports, nil
	}
	part, err := toml.Marshal(settings)
	if err != nil {
		return f, nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := toml.Unmarshal(part, &f.images); err != nil {
		return f, nil, fmt.Errorf("%s: [plugins.%q]: %w", path, f.plugin, err)
	}
	return f, file.Imports, nil
}

// imports finds the files that a configuration imports, as containerd does.
func (d *doctor) imports(from string, patterns []string) []string {
	var all []string
	for _, pattern := range patterns {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(from), pattern)
		}
		found, err := filepath.Glob(d.at(pattern))
		if err != nil {
			continue
		}
		for _, path := range found {
			all = append(all, "/"+strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean(d.Root)), "/"))
		}
	}
	return all
}

// checkRoots looks at config_path.
func (d *doctor) checkRoots(context.Context) []Problem {
	var all []Problem
	for _, c := range d.daemons() {
		found := d.checkRootsOf(c)
		for _, certs := range c.certs {
			d.stops(certs, "", found...)
		}
		all = append(all, found...)
	}
	return all
}

func (d *doctor) checkRootsOf(c daemon) []Problem {
	files, err := d.containerdFiles(c.config)
	if err != nil {
		return problemsOf(err, "correct it")
	}
	in := files[0]
	for _, f := range files {
		if f.images.Registry.ConfigPath != "" {
			in = f
		}
	}
	path := in.images.Registry.ConfigPath
	fix := fmt.Sprintf("in %s: [plugins.%q.registry] config_path = %q%s", in.path, in.plugin, c.certs[0], c.restart())
	switch roots := filepath.SplitList(path); {
	case path == "":
		return []Problem{{in.key("registry.config_path is not set: containerd 1.7 then reads no hosts.toml, and the default of 2.x, two directories, is ignored by its transfer service"), fix}}
	case len(roots) > 1:
		return []Problem{{in.key(fmt.Sprintf("registry.config_path = %q names two directories; the transfer service ignores both", path)), fix}}
	case !slices.Contains(c.certs, filepath.Clean(path)):
		return []Problem{{in.key(fmt.Sprintf("registry.config_path = %q is not where hosts.toml is installed, %s", path, strings.Join(c.certs, " or "))), fix + "; or nestctl install with --containerd-certs " + path}}
	}
	return nil
}

// checkPull looks for settings that make CRI pull by itself.
func (d *doctor) checkPull(context.Context) []Problem {
	var found []Problem
	for _, c := range d.daemons() {
		files, err := d.containerdFiles(c.config)
		if err != nil {
			continue // checkRoots says it
		}
		for _, f := range files {
			for _, s := range f.images.localPull() {
				found = append(found, Problem{f.key(s.setting + ": CRI of containerd 2.1 and later pulls only the first fitting member"), s.fix + c.restart()})
			}
		}
	}
	return found
}

// localPull is a setting with which CRI does not pull through the transfer
// service. docs/containerd.md has the same list.
type localPull struct {
	set          bool
	setting, fix string
}

// localPull lists those that are set.
func (c criImages) localPull() []localPull {
	return slices.DeleteFunc(c.localPulls(), func(s localPull) bool { return !s.set })
}

// localPulls lists the settings that containerd's CheckLocalImagePullConfigs
// knows, and the one that it sets itself.
func (c criImages) localPulls() []localPull {
	annotations := c.DisableAnnotations
	if annotations == nil {
		annotations = c.Containerd.DisableAnnotations
	}
	return []localPull{
		{c.UseLocalImagePull, "use_local_image_pull = true", "remove it"},
		{annotations != nil && !*annotations, "disable_snapshot_annotations = false", "remove it; snapshotters that need annotations are set in the transfer service"},
		{c.DiscardLayers || c.Containerd.DiscardLayers, "discard_unpacked_layers = true", "remove it"},
		{len(c.Registry.Mirrors) > 0, "registry.mirrors is set", "write the mirrors into hosts.toml and remove it"},
		{len(c.Registry.Configs) > 0, "registry.configs is set", "write CAs and client certificates into hosts.toml, credentials into docker_config, and remove it"},
		{len(c.Registry.Auths) > 0, "registry.auths is set", "write the credentials into docker_config and remove it"},
		{c.ConcurrentDownloads != nil && *c.ConcurrentDownloads != 3, "max_concurrent_downloads is not 3", `set it in [plugins."io.containerd.transfer.v1.local"] in its place`},
		{c.ImagePullWithSyncFs, "image_pull_with_sync_fs = true", "remove it"},
	}
}
