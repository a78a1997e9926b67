package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// HostsWithoutGateway returns a directory of hosts.toml files for a registry
// without the gateway, for a client that follows child namespaces itself: only
// root could read the gateway's certificate. It is dir when that has no gateway
// in it, and none when dir is ""; otherwise a copy in a directory that only the
// user can read, to be removed when the files have been read. What cannot be
// read is left to containerd's code, which reports it. Root is refused files
// that others can write: they may name a directory of their own.
func HostsWithoutGateway(dir, registry string) (around string, remove func() error, err error) {
	if dir == "" {
		return "", nothing, nil
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	if os.Geteuid() == 0 {
		if err = CheckHosts("", dir, registry); err != nil {
			return "", nil, err
		}
	}
	for _, name := range HostDirs(registry) {
		path := filepath.Join(dir, name, "hosts.toml")
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			break
		}
		without, ok := withoutGateway(path, text)
		if !ok {
			break
		}
		return copyHosts(name, without)
	}
	return dir, nothing, nil
}

func nothing() error { return nil }

// copyHosts writes a hosts.toml into a new directory.
func copyHosts(name string, text []byte) (dir string, remove func() error, err error) {
	if dir, err = os.MkdirTemp("", "nestctl-"); err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err = os.Mkdir(filepath.Join(dir, name), 0o700); err == nil {
		err = os.WriteFile(filepath.Join(dir, name, "hosts.toml"), text, 0o600)
	}
	if err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return dir, remove, nil
}
