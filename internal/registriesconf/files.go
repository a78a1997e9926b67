package registriesconf

import (
	"path/filepath"
	"slices"
	"strings"
)

// Dir is the directory of an administrator's files.
const Dir = "/etc/containers"

// vendorDir has those of a vendor, which newer versions read: an
// administrator's of the same name replaces each.
const vendorDir = "/usr/share/containers"

// mains are the main files, of which the first that exists counts.
func mains() []string {
	return []string{filepath.Join(Dir, "registries.conf"), filepath.Join(vendorDir, "registries.conf")}
}

// dropInDirs are the directories of drop-ins, of which an earlier one's replaces
// a later one's of the same name. Newer versions read those with rootful in
// their names when root pulls.
func dropInDirs() []string {
	var all []string
	for _, dir := range []string{Dir, vendorDir} {
		all = append(all, filepath.Join(dir, "registries.rootful.conf.d"), filepath.Join(dir, "registries.conf.d"))
	}
	return all
}

// Patterns are those of the paths of all files that [Read] may read.
func Patterns() []string {
	all := mains()
	for _, dir := range dropInDirs() {
		all = append(all, filepath.Join(dir, "*.conf"))
	}
	return all
}

// DropIn is the path of an administrator's drop-in.
func DropIn(name string) string { return filepath.Join(Dir, "registries.conf.d", name) }

// Disk is where files are read from.
type Disk interface {
	// Names lists the names in a directory, which need not exist.
	Names(dir string) ([]string, error)
	// Data reads a file; nil when it does not exist.
	Data(path string) ([]byte, error)
}

// Read reads the files that count for all users, apart from one, in the order
// in which they are merged.
func Read(d Disk, without string) ([]File, error) {
	paths, err := find(d)
	if err != nil {
		return nil, err
	}
	return readAll(d, slices.DeleteFunc(paths, func(path string) bool { return path == without }))
}

// UserDir is the directory of the files of a user with a home directory.
func UserDir(home string) string { return filepath.Join(home, ".config/containers") }

// ReadUser reads a user's own drop-ins. Versions before containers/image 5.42
// merge them after all other files, and newer ones by their names.
func ReadUser(d Disk, home string) ([]File, error) {
	paths, err := findDropIns(d, []string{filepath.Join(UserDir(home), "registries.conf.d")})
	if err != nil {
		return nil, err
	}
	return readAll(d, paths)
}

func readAll(d Disk, paths []string) ([]File, error) {
	var all []File
	for _, path := range paths {
		data, err := d.Data(path)
		if err != nil {
			return nil, err
		}
		file, err := Parse(path, data)
		if err != nil {
			return nil, err
		}
		all = append(all, file)
	}
	return all, nil
}

// find lists the files: a main file, then the drop-ins by their names.
func find(d Disk) ([]string, error) {
	var paths []string
	for _, main := range mains() {
		data, err := d.Data(main)
		if err != nil {
			return nil, err
		}
		if data != nil && paths == nil {
			paths = []string{main}
		}
	}
	dropIns, err := findDropIns(d, dropInDirs())
	return append(paths, dropIns...), err
}

// findDropIns lists the drop-ins by their names, of which an earlier directory's
// replaces a later one's.
func findDropIns(d Disk, dirs []string) (dropIns []string, err error) {
	for _, dir := range dirs {
		names, err := d.Names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") && !slices.ContainsFunc(dropIns, named(name)) {
				dropIns = append(dropIns, filepath.Join(dir, name))
			}
		}
	}
	slices.SortFunc(dropIns, byName)
	return dropIns, nil
}

func named(name string) func(string) bool {
	return func(path string) bool { return filepath.Base(path) == name }
}

func byName(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) }

// With adds a drop-in to files where it is read.
func With(files []File, added File) []File {
	at := slices.IndexFunc(files, func(f File) bool {
		return strings.HasSuffix(filepath.Dir(f.Path), ".d") && byName(f.Path, added.Path) > 0
	})
	if at < 0 {
		at = len(files)
	}
	return slices.Insert(slices.Clone(files), at, added)
}
