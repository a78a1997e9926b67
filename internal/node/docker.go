package node

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DockerConfig is the configuration of Docker Engine.
const DockerConfig = "/etc/docker/daemon.json"

// ContainerdStore is the feature of Docker Engine's containerd image store.
const ContainerdStore = "containerd-snapshotter"

// DockerEngine are the settings of Docker Engine that affect how it pulls.
type DockerEngine struct {
	Features           map[string]bool `json:"features"`
	StorageDriver      string          `json:"storage-driver"`
	DataRoot           string          `json:"data-root"`
	UsernsRemap        string          `json:"userns-remap"`
	RegistryMirrors    []string        `json:"registry-mirrors"`
	InsecureRegistries []string        `json:"insecure-registries"`

	root string // the directory of the image
}

// ReadDockerEngine reads the settings on a root; without a file they are empty.
func ReadDockerEngine(root string) (DockerEngine, error) {
	e := DockerEngine{root: root}
	text, err := os.ReadFile(filepath.Join(root, DockerConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if path := new(fs.PathError); errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", DockerConfig, err)
	}
	return e, nil
}

// graphDrivers are those of Docker Engine, to which it keeps where there is one
// in its data directory. It does not count vfs.
var graphDrivers = [...]string{"overlay2", "fuse-overlayfs", "btrfs", "zfs"}

// Graphdriver says which file makes Docker Engine use the graphdriver image
// store, which does not read hosts.toml; empty when none does. It decides as
// Docker Engine 29 does.
func (e DockerEngine) Graphdriver() string {
	enabled, said := e.Features[ContainerdStore]
	prior := e.priorDriver()
	switch {
	case e.UsernsRemap != "":
		return DockerConfig + `: "userns-remap", which the containerd image store cannot have`
	case enabled:
		return ""
	case said:
		return fmt.Sprintf("%s: %q: false", DockerConfig, ContainerdStore)
	case slices.Contains(append(graphDrivers[:], "vfs"), e.StorageDriver):
		return fmt.Sprintf("%s: \"storage-driver\": %q", DockerConfig, e.StorageDriver)
	case prior != "":
		return prior + " has images"
	}
	return ""
}

// priorDriver is the directory of a graph driver that is in use; empty when
// there is none.
func (e DockerEngine) priorDriver() string {
	for _, driver := range graphDrivers {
		dir := filepath.Join(cmp.Or(e.DataRoot, "/var/lib/docker"), driver)
		if entries, err := os.ReadDir(filepath.Join(e.root, dir)); err == nil && len(entries) > 0 {
			return dir
		}
	}
	return ""
}

// Insecure reports whether Docker Engine would ask a registry over http, or
// without verifying it. Names are not resolved.
func (e DockerEngine) Insecure(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	address, err := netip.ParseAddr(host)
	return slices.ContainsFunc(e.InsecureRegistries, func(s string) bool {
		network, errPrefix := netip.ParsePrefix(s)
		return s == registry || err == nil && errPrefix == nil && network.Contains(address)
	})
}

// hosts is a hosts.toml that says of a registry what the settings say, in
// addition to one that names its certificates. Docker Engine ignores these
// settings where a hosts.toml has a mirror (mergeLegacyConfig in its
// daemon/hosts.go), as it has with the gateway in it.
func (e DockerEngine) hosts(registry string, certificates []byte) []byte {
	var text strings.Builder
	if e.Insecure(registry) { // containerd tries https first, as Docker Engine does
		fmt.Fprintf(&text, "server = %q\nskip_verify = true\n", "http://"+registry)
		if line, rest, _ := bytes.Cut(certificates, []byte("\n")); bytes.HasPrefix(line, []byte("server = ")) {
			certificates = rest
		}
	}
	text.Write(certificates)
	if registry != "docker.io" {
		return []byte(text.String())
	}
	for _, mirror := range e.RegistryMirrors {
		fmt.Fprintf(&text, "\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", strings.TrimSuffix(mirror, "/"))
		if u, err := url.Parse(mirror); err == nil && e.Insecure(u.Host) {
			text.WriteString("  skip_verify = true\n")
		}
	}
	return []byte(text.String())
}

// withSettings adds Docker Engine's own settings where there is no hosts.toml.
func (i installed) withSettings(s site) (site, error) {
	if filepath.Dir(s.dir) != DockerCerts || s.found != nil {
		return s, nil
	}
	e, err := ReadDockerEngine(i.disk.root.Name())
	s.admin = e.hosts(s.registry, s.admin)
	return s, err
}

// idleDocker says why Docker Engine would not ask the gateway.
func idleDocker(root string) error {
	e, err := ReadDockerEngine(root)
	if err != nil {
		return err
	}
	if why := e.Graphdriver(); why != "" {
		return fmt.Errorf("%s: its graphdriver image store does not ask the gateway; use nestctl serve (docs/serve.md), or its containerd image store and --for docker", why)
	}
	return nil
}
