package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nestedoci/nested/internal/trust"
)

// maxHosts bounds a hosts.toml; those with many mirrors have a few KiB.
const maxHosts = 1 << 20

// CheckHosts refuses a directory of hosts.toml files when others decide about
// its content for a registry: the directory, that of the registry, its
// hosts.toml, and the CAs, certificates and keys that are named there. The
// error is an [*Error] with all of it. root is the directory of an image, in
// which the paths are resolved; "" for this system.
func CheckHosts(root, dir, registry string) error {
	var found problems
	note := func(err error) {
		var bad *trust.Error
		if errors.As(err, &bad) {
			found.add(Problem{File: bad.Path, Wrong: bad.Wrong, Fix: bad.Fix})
		}
	}
	note(trust.Dir(filepath.Join(root, dir)))
	for _, name := range HostDirs(registry) {
		of := filepath.Join(root, dir, name)
		err := trust.Dir(of)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if len(found.first) == 0 { // otherwise it is the same
			note(err)
		}
		if err == nil {
			for _, path := range hostsFiles(of, registry) {
				if filepath.IsAbs(path) {
					path = filepath.Join(root, path)
				} else {
					path = filepath.Join(of, path)
				}
				note(trust.File(path))
			}
		}
		break // the one that containerd uses
	}
	return found.err()
}

// hostsFiles lists the relevant files of a registry's directory: hosts.toml
// with the files that it names or, without one, those of Docker's layout. When
// hosts.toml cannot be read, only it is listed.
func hostsFiles(dir, registry string) []string {
	const name = "hosts.toml"
	text, err := trust.ReadFile(filepath.Join(dir, name), maxHosts)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = DockerHosts(registry, namesIn(dir)), nil
	}
	all := []string{name}
	if err != nil || len(text) > maxHosts {
		return all
	}
	hosts, err := ParseHosts(name, text)
	if err != nil {
		return all
	}
	for _, h := range append(hosts.Hosts, hosts.Server) {
		all = append(all, h.CA...)
		for _, pair := range h.Client {
			all = append(all, pair[0])
			if pair[1] != "" {
				all = append(all, pair[1])
			}
		}
	}
	return all
}

func namesIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // reading it reports the error
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
