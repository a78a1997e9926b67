package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
)

// recordPath is where an installation is recorded.
const recordPath = "/etc/nested/install.json"

// Record lists our files and what was there before. It is written before the
// changes that it describes, so that an interrupted installation can be
// completed or undone.
type Record struct {
	About   string   `json:"about"`
	Version int      `json:"version"`
	Options Options  `json:"options"`
	Files   []entry  `json:"files"` // in the order of writing
	Dirs    []string `json:"dirs"`  // created, the outermost first
}

// entry is a file that we wrote.
type entry struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Earlier are hashes of versions that an unfinished installation may not
	// have replaced yet.
	Earlier []string `json:"earlier,omitempty"`
	// Original is what was there before; nil when there was nothing.
	Original *contents `json:"original,omitempty"`
}

// ours reports whether a file is as we wrote it.
func (e entry) ours(c *contents) bool {
	return c != nil && (hashOf(c.Data) == e.SHA256 || slices.Contains(e.Earlier, hashOf(c.Data)))
}

// untouched reports whether a file is still as it was before the installation.
func (e entry) untouched(c *contents) bool {
	if c == nil || e.Original == nil {
		return c == nil && e.Original == nil
	}
	return bytes.Equal(c.Data, e.Original.Data)
}

// before is what was there before a file of ours. Its owner is that of the
// current file, which is the earlier one's: a record must not change the owners
// of files.
func (e entry) before(current *contents) *contents {
	if e.Original == nil {
		return nil
	}
	original := newContents(e.Original.Data, e.Original.Mode)
	if current != nil {
		original.UID, original.GID = current.UID, current.GID
	}
	return &original
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// entry finds the entry of a path.
func (r *Record) entry(path string) (entry, bool) {
	i := slices.IndexFunc(r.Files, func(e entry) bool { return e.Path == path })
	if i < 0 {
		return entry{}, false
	}
	return r.Files[i], true
}

// Has reports whether a file was installed at a path.
func (r *Record) Has(path string) bool {
	_, ok := r.entry(path)
	return ok
}

// Wrote reports whether a file was installed at a path with these bytes.
func (r *Record) Wrote(path string, data []byte) bool {
	e, ok := r.entry(path)
	return ok && e.ours(&contents{Data: data})
}

// named lists the paths of files whose name matches a pattern of
// [filepath.Match].
func (r *Record) named(pattern string) []string {
	var all []string
	for _, e := range r.Files {
		if ok, err := filepath.Match(pattern, filepath.Base(e.Path)); ok && err == nil {
			all = append(all, e.Path)
		}
	}
	return all
}

// namesOurs reports whether a file names certificates of ours.
func (r *Record) namesOurs(c *contents) bool {
	return c != nil && slices.ContainsFunc(r.named("nested-*.pem"), func(path string) bool {
		return bytes.Contains(c.Data, []byte(`"`+filepath.Base(path)+`"`))
	})
}

// without lists the entries that are not in another record.
func (r *Record) without(other *Record) []entry {
	return slices.DeleteFunc(slices.Clone(r.Files), func(e entry) bool { return other.Has(e.Path) })
}

// ReadRecord reads the record of the installation on a root. Without an
// installation it is empty.
func ReadRecord(root string) (*Record, error) {
	d, err := openDisk(root)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return loadRecord(d)
}

// loadRecord reads the record, or returns an empty one.
func loadRecord(d *disk) (*Record, error) {
	c, err := d.read(recordPath)
	if err != nil {
		return nil, err
	}
	r := &Record{Version: 1, About: "nestctl wrote this; nestctl uninstall needs it to restore what was here before"}
	if c == nil {
		return r, nil
	}
	if err := json.Unmarshal(c.Data, r); err != nil {
		return nil, fmt.Errorf("%s: %w; restore the file as nestctl wrote it, or remove what it installed by hand", recordPath, err)
	}
	r.upgrade()
	if r.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is that of a newer nestctl; use that one", recordPath, r.Version)
	}
	return r, r.check()
}

// upgrade gives a record of a version that knew containerd alone its client.
func (r *Record) upgrade() {
	if len(r.Files) > 0 && len(r.Options.For) == 0 {
		r.Options.For = []string{Containerd}
	}
}

// check refuses a record that no installation can have written. Only root and
// this process's user can have written it, but uninstalling acts on it as root.
func (r *Record) check() error {
	const fix = "; restore the file as nestctl wrote it, or remove what it installed by hand"
	for _, registry := range r.Options.Registries {
		if !isRegistry(registry) {
			return fmt.Errorf("%s: registry %.64q is not a registry"+fix, recordPath, registry)
		}
	}
	if err := r.Options.checkRecorded(); err != nil {
		return fmt.Errorf("%s: %w"+fix, recordPath, err)
	}
	for _, e := range r.Files {
		if !r.Options.writes(e.Path) {
			return fmt.Errorf("%s: %.128q is not a file that nestctl install writes"+fix, recordPath, e.Path)
		}
		if e.Original != nil && e.Original.Mode&^fs.ModePerm != 0 {
			return fmt.Errorf("%s: %s: mode %s has more than the bits of permissions"+fix, recordPath, e.Path, e.Original.Mode)
		}
	}
	for _, dir := range r.Dirs {
		if !r.Options.makes(dir) {
			return fmt.Errorf("%s: %.128q is not a directory that nestctl install makes"+fix, recordPath, dir)
		}
	}
	return nil
}

// checkRecorded refuses clients and directories that no options can have.
func (o *Options) checkRecorded() error {
	for _, dir := range o.ContainerdCerts {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return fmt.Errorf("containerd_certs %.128q is not the path of a directory", dir)
		}
	}
	for _, name := range o.For {
		if !slices.Contains(ClientNames(), name) {
			return fmt.Errorf("for %.64q is unknown to this nestctl", name)
		}
	}
	return nil
}

// certificateName is the form of the names of files beside hosts.toml, see
// [config.NewGatewayHost].
var certificateName = regexp.MustCompile(`^nested-[0-9a-f]{8}(-ca)?\.pem$`)

// writes reports whether an installation can have written a file.
func (o *Options) writes(path string) bool {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	above, of := filepath.Dir(dir), filepath.Base(dir)
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return false
	case path == config.Path || path == gatewayPEM || path == clientCAPEM:
		return true
	case dir == BuildKitCerts:
		return slices.Contains(o.For, BuildKit) && buildKitName.MatchString(name)
	case dir == UnitDir:
		return slices.Contains(unitNames(), name)
	case writesContainers(path):
		return true
	case !config.IsHostDir(of):
		return false
	case above == filepath.Clean(config.Default().Gateway.HostsDir):
		return name == "hosts.toml"
	}
	return slices.Contains(o.HostsDirs(), above) && (name == "hosts.toml" || certificateName.MatchString(name))
}

// makes reports whether an installation can have made a directory.
func (o *Options) makes(dir string) bool {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return false
	}
	hosts := append([]string{filepath.Clean(config.Default().Gateway.HostsDir)}, o.HostsDirs()...)
	if slices.Contains(hosts, filepath.Dir(dir)) && config.IsHostDir(filepath.Base(dir)) {
		return true
	}
	return makesContainers(dir) || slices.ContainsFunc(append(hosts, tlsDir, BuildKitCerts, UnitDir, containersCerts, filepath.Dir(containersDropIn)), func(made string) bool {
		return made == dir || strings.HasPrefix(made, dir+"/")
	})
}

// save writes the record, unless it is unchanged.
func (r *Record) save(d *disk) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if c, err := d.read(recordPath); err != nil || c != nil && bytes.Equal(c.Data, data) {
		return err
	}
	return d.write(recordPath, newContents(data, 0o600))
}

// newContents is a file that we write.
func newContents(data []byte, mode os.FileMode) contents {
	return contents{data, mode, os.Geteuid(), os.Getegid()}
}
