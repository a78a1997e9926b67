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
	var all []File
	for _, path := range paths {
		if path == without {
			continue
		}
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
func find(d Disk) (paths []string, err error) {
	var dropIns []string
	for _, dir := range []string{Dir, vendorDir} {
		main := filepath.Join(dir, "registries.conf")
		data, err := d.Data(main)
		if err != nil {
			return nil, err
		}
		if data != nil && paths == nil {
			paths = []string{main}
		}
		names, err := d.Names(main + ".d")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") && !slices.ContainsFunc(dropIns, named(name)) {
				dropIns = append(dropIns, filepath.Join(main+".d", name))
			}
		}
	}
	slices.SortFunc(dropIns, byName)
	return append(paths, dropIns...), nil
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
