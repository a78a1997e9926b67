package main

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

// journalPath is where an installation is recorded.
const journalPath = "/etc/nested/install.json"

// journal says what is ours and what was there before. It is written before
// anything that it tells of is done, so that an interrupted installation can
// be finished or taken back.
type journal struct {
	About   string         `json:"about"`
	Version int            `json:"version"`
	Options installOptions `json:"options"`
	Files   []entry        `json:"files"` // in the order of writing
	Dirs    []string       `json:"dirs"`  // that were created, the outermost first
}

// entry is a file that is ours.
type entry struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Earlier are the hashes of what an unfinished installation may not have
	// replaced yet.
	Earlier []string `json:"earlier,omitempty"`
	// Original is what was there before us, nil when nothing was.
	Original *contents `json:"original,omitempty"`
}

// ours tells whether a file is as we wrote it.
func (e entry) ours(c *contents) bool {
	return c != nil && (hashOf(c.Data) == e.SHA256 || slices.Contains(e.Earlier, hashOf(c.Data)))
}

// untouched tells whether a file is as it was before us.
func (e entry) untouched(c *contents) bool {
	if c == nil || e.Original == nil {
		return c == nil && e.Original == nil
	}
	return bytes.Equal(c.Data, e.Original.Data)
}

// before is what was there before a file of ours. It has the owner of what is
// there now, as ours has that of what was there before: no record gives files
// away.
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
func (r *journal) entry(path string) (entry, bool) {
	i := slices.IndexFunc(r.Files, func(e entry) bool { return e.Path == path })
	if i < 0 {
		return entry{}, false
	}
	return r.Files[i], true
}

// finished tells whether all files that were to be replaced are.
func (r *journal) finished() bool {
	return !slices.ContainsFunc(r.Files, func(e entry) bool { return len(e.Earlier) > 0 })
}

// loadJournal reads the record; without one there is an empty one.
func loadJournal(d *disk) (*journal, error) {
	c, err := d.read(journalPath)
	if err != nil {
		return nil, err
	}
	r := &journal{Version: 1, About: "nestctl wrote this; nestctl uninstall needs it to bring back what was here before"}
	if c == nil {
		return r, nil
	}
	if err := json.Unmarshal(c.Data, r); err != nil {
		return nil, fmt.Errorf("%s: %w; put back the file as nestctl wrote it, or remove what it installed by hand", journalPath, err)
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is that of a newer nestctl; use that one", journalPath, r.Version)
	}
	return r, r.check()
}

// check refuses a record of what no installation does. Nobody but root and this
// process's user has written it, but what is done by it is done as root.
func (r *journal) check() error {
	const fix = "; put back the file as nestctl wrote it, or remove what it installed by hand"
	for _, registry := range r.Options.Registries {
		if !isRegistry(registry) {
			return fmt.Errorf("%s: registry %.64q is none"+fix, journalPath, registry)
		}
	}
	for _, dir := range r.Options.ContainerdCerts {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return fmt.Errorf("%s: containerd_certs %.128q is no directory's path"+fix, journalPath, dir)
		}
	}
	for _, e := range r.Files {
		if !r.Options.writes(e.Path) {
			return fmt.Errorf("%s: %.128q is no file that nestctl install writes"+fix, journalPath, e.Path)
		}
		if e.Original != nil && e.Original.Mode&^fs.ModePerm != 0 {
			return fmt.Errorf("%s: %s: mode %s has more than the bits of permissions"+fix, journalPath, e.Path, e.Original.Mode)
		}
	}
	for _, dir := range r.Dirs {
		if !r.Options.makes(dir) {
			return fmt.Errorf("%s: %.128q is no directory that nestctl install makes"+fix, journalPath, dir)
		}
	}
	return nil
}

// certificateName are the files beside hosts.toml, see [config.NewGatewayHost].
var certificateName = regexp.MustCompile(`^nested-[0-9a-f]{8}(-ca)?\.pem$`)

// writes reports whether an installation can have written a file.
func (o *installOptions) writes(path string) bool {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	above, of := filepath.Dir(dir), filepath.Base(dir)
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return false
	case path == config.Path || path == gatewayPEM || path == clientCAPEM:
		return true
	case dir == unitDir:
		return slices.Contains(unitNames(), name)
	case !config.IsHostDir(of):
		return false
	case above == filepath.Clean(config.Default().Gateway.HostsDir):
		return name == "hosts.toml"
	}
	return slices.Contains(o.ContainerdCerts, above) && (name == "hosts.toml" || certificateName.MatchString(name))
}

// makes reports whether an installation can have made a directory.
func (o *installOptions) makes(dir string) bool {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return false
	}
	hosts := append([]string{filepath.Clean(config.Default().Gateway.HostsDir)}, o.ContainerdCerts...)
	if slices.Contains(hosts, filepath.Dir(dir)) && config.IsHostDir(filepath.Base(dir)) {
		return true
	}
	return slices.ContainsFunc(append(hosts, tlsDir, unitDir), func(made string) bool {
		return made == dir || strings.HasPrefix(made, dir+"/")
	})
}

// save writes the record, unless it is there already.
func (r *journal) save(d *disk) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if c, err := d.read(journalPath); err != nil || c != nil && bytes.Equal(c.Data, data) {
		return err
	}
	return d.write(journalPath, newContents(data, 0o600))
}

// newContents is a file of ours.
func newContents(data []byte, mode os.FileMode) contents {
	return contents{data, mode, os.Geteuid(), os.Getegid()}
}
