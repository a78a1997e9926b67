// Package registriesconf reads and writes registries.conf, in which podman,
// buildah, skopeo and CRI-O find the mirrors of a registry, as
// github.com/containers/image does (package sysregistriesv2): a main file, and
// drop-ins that replace each other's tables of one prefix.
//
// files.go finds and reads the files, and shortnames.go checks what else is in
// them. [Merge] puts them together, [Config.Find]
// finds the table that decides about a registry, and [Registry.Through] puts a
// mirror before all others of a table.
package registriesconf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// Endpoint is where content is pulled from.
type Endpoint struct {
	Location string `toml:"location,omitempty"` // host[:port][/path]
	Insecure bool   `toml:"insecure,omitempty"` // without verification, or over HTTP
	// PullFrom says for which references a mirror is: all (or empty), digest-only
	// or tag-only.
	PullFrom string `toml:"pull-from-mirror,omitempty"`
	// Namespace is what containers/image 5.41 and later send to a mirror as ns.
	Namespace string `toml:"namespace-proxy,omitempty"`
}

// Registry is a table of a file: what is done with references below a prefix.
type Registry struct {
	Prefix string `toml:"prefix,omitempty"`
	Endpoint
	Blocked    bool       `toml:"blocked,omitempty"`
	DigestOnly bool       `toml:"mirror-by-digest-only,omitempty"`
	Mirrors    []Endpoint `toml:"mirror,omitempty"`
	File       string     `toml:"-"` // that has the table
}

// File is a file that was read.
type File struct {
	Path       string
	Registries []Registry
}

// document is a file's text.
type document struct {
	Registries []Registry `toml:"registry"`
	V1         *struct{}  `toml:"registries"`
	shortNames
}

// Config is the tables of some files, one for each prefix, sorted by it.
type Config []Registry

// refused is the next step where a file is wrong.
const refused = "; correct it, as podman refuses it, too"

// Parse reads a file. What containers/image refuses is an error that names it.
func Parse(name string, text []byte) (File, error) {
	var file document
	if err := toml.Unmarshal(text, &file); err != nil {
		return File{}, positioned(name, err)
	}
	if file.V1 != nil {
		return File{}, fmt.Errorf("%s: has tables of version 1, [registries.…], which newer versions of podman refuse; write them as [[registry]]", name)
	}
	if err := file.check(); err != nil {
		return File{}, fmt.Errorf("%s: %w%s", name, err, refused)
	}
	for i := range file.Registries {
		r := &file.Registries[i]
		if err := r.normalize(); err != nil {
			return File{}, fmt.Errorf("%s: [[registry]] %s: %w%s", name, sanitize.Quote(cmp.Or(r.Prefix, r.Location)), err, refused)
		}
		r.File = name
	}
	for i, r := range file.Registries {
		if at := slices.IndexFunc(file.Registries[:i], r.contradicts); at >= 0 {
			return File{}, fmt.Errorf("%s: [[registry]] %s and %s: only one of them is insecure or blocked, and they have one location, for which podman refuses the file; make them agree", name, sanitize.Quote(file.Registries[at].Prefix), sanitize.Quote(r.Prefix))
		}
	}
	return File{name, file.Registries}, nil
}

// contradicts reports whether no file can have both tables: they have one
// location, and say different things of it.
func (r Registry) contradicts(other Registry) bool {
	return cmp.Or(r.Location, r.Prefix) == cmp.Or(other.Location, other.Prefix) && (r.Insecure != other.Insecure || r.Blocked != other.Blocked)
}

// positioned is a TOML error with its position, and without what the file says.
func positioned(name string, err error) error {
	var bad *toml.DecodeError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%s: %s%s", name, sanitize.Text(err.Error()), refused)
	}
	line, column := bad.Position()
	return fmt.Errorf("%s:%d:%d: %s%s", name, line, column, sanitize.Text(err.Error()), refused)
}

// normalize does what containers/image does with a table after reading it.
func (r *Registry) normalize() error {
	for _, e := range r.endpoints() {
		e.Location = strings.TrimRight(e.Location, "/")
		if strings.Contains(e.Location, "://") {
			return errors.New("location: must have no scheme")
		}
	}
	r.Prefix = strings.TrimRight(r.Prefix, "/")
	isWildcard := strings.HasPrefix(r.Prefix, "*.")
	switch {
	case r.Location == "" && !isWildcard:
		return errors.New("location: is missing")
	case isWildcard && strings.ContainsAny(r.Prefix, "/@:"):
		return errors.New("prefix: a wildcard has the form *.example.com")
	case r.PullFrom != "":
		return errors.New("pull-from-mirror: is for mirrors")
	case r.Prefix == "":
		r.Prefix = r.Location
	}
	for _, m := range r.Mirrors {
		switch {
		case m.Location == "":
			return errors.New("mirror: location is missing")
		case m.PullFrom != "" && r.DigestOnly:
			return errors.New("pull-from-mirror: contradicts mirror-by-digest-only")
		case !slices.Contains([]string{"", "all", "digest-only", "tag-only"}, m.PullFrom):
			return fmt.Errorf("pull-from-mirror: %s is unknown", sanitize.Quote(m.PullFrom))
		}
	}
	return nil
}

// endpoints are all of a table.
func (r *Registry) endpoints() []*Endpoint {
	all := []*Endpoint{&r.Endpoint}
	for i := range r.Mirrors {
		all = append(all, &r.Mirrors[i])
	}
	return all
}

// Merge merges files in the order in which they are read: within a file the
// first table of a prefix counts, and of two files that of the later.
func Merge(files []File) Config {
	tables := map[string]Registry{}
	for _, file := range files {
		for _, r := range slices.Backward(file.Registries) {
			tables[r.Prefix] = r
		}
	}
	var all Config
	for _, r := range tables {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Registry) int { return strings.Compare(a.Prefix, b.Prefix) })
	return all
}

// Find finds the table that decides about the repositories of a registry, apart
// from those for which there is one of their own.
func (c Config) Find(registry string) (Registry, bool) {
	best, found := Registry{}, false
	for _, r := range c {
		if matches(registry+"/", r.Prefix) >= 0 && (!found || len(r.Prefix) > len(best.Prefix)) {
			best, found = r, true
		}
	}
	return best, found
}

// Below lists the tables for some of a registry's repositories.
func (c Config) Below(registry string) []Registry {
	return slices.DeleteFunc(slices.Clone(c), func(r Registry) bool { return !strings.HasPrefix(r.Prefix, registry+"/") })
}

// matches returns how much of a reference a prefix matches, -1 for nothing. A
// prefix without a port also matches the same host with one, as in
// containers/image.
func matches(ref, prefix string) int {
	end := len(prefix)
	if domain, ok := strings.CutPrefix(prefix, "*"); ok && strings.HasPrefix(domain, ".") {
		at := strings.Index(ref, domain)
		if at < 0 || strings.Contains(ref[:at], "/") {
			return -1
		}
		end = at + len(domain)
	} else if !strings.HasPrefix(ref, prefix) {
		return -1
	}
	if end < len(ref) && !strings.ContainsRune(":/@", rune(ref[end])) {
		return -1
	}
	return end
}

// Of is a table as it applies to a registry that it decides about: its prefix is
// the registry.
func (r Registry) Of(registry string) (Registry, error) {
	rest := registry[min(len(registry), matches(registry+"/", r.Prefix)):]
	r.Mirrors = slices.Clone(r.Mirrors)
	r.Prefix = registry
	for _, e := range r.endpoints() {
		if e.Location == "" { // of a wildcard: the reference stays as it is
			e.Location = registry
			continue
		}
		e.Location += rest
		if _, err := auth.ParseRepository(e.Location + "/x"); err != nil {
			return r, fmt.Errorf("%s: location %s of %s: must be host[:port][/path]; correct it, or give %[3]s a table of its own", r.File, sanitize.Quote(e.Location), registry)
		}
	}
	return r, nil
}

// Through is the table with another mirror before all of its own. What limits
// its own mirrors to digests does not limit that one.
func (r Registry) Through(mirror string) Registry {
	mirrors := []Endpoint{{Location: mirror}}
	for _, m := range r.Mirrors {
		if r.DigestOnly {
			m.PullFrom = "digest-only"
		}
		mirrors = append(mirrors, m)
	}
	r.Mirrors, r.DigestOnly = mirrors, false
	return r
}

// Host is the host of a location, with its port.
func (e Endpoint) Host() string {
	host, _, _ := strings.Cut(e.Location, "/")
	return host
}

// Render writes a file.
func (c Config) Render() ([]byte, error) {
	return toml.Marshal(struct {
		Registries []Registry `toml:"registry"`
	}{c})
}
