package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

const (
	dockerConfig = "/etc/docker/daemon.json"
	dockerSocket = "/run/docker.sock"
	// containerdStore is the feature of Docker Engine's containerd image store.
	containerdStore = "containerd-snapshotter"
	// storeFix is what to do about an image store that follows nothing.
	storeFix = `set "features": {"` + containerdStore + `": true} in ` + dockerConfig + ", restart Docker and pull again, because the store has other images; " +
		"or let Docker pull from nestctl serve (docs/serve.md)"
)

// dockerd are the settings of Docker Engine's daemon.json that affect how it
// pulls.
type dockerd struct {
	Features           map[string]bool `json:"features"`
	StorageDriver      string          `json:"storage-driver"`
	DataRoot           string          `json:"data-root"`
	UsernsRemap        string          `json:"userns-remap"`
	RegistryMirrors    []string        `json:"registry-mirrors"`
	InsecureRegistries []string        `json:"insecure-registries"`
}

// graphDrivers are those of Docker Engine, in whose presence it keeps to them.
// It does not count vfs.
var graphDrivers = [...]string{"overlay2", "fuse-overlayfs", "btrfs", "zfs"}

// checkDocker looks at Docker Engine's own configuration. runs says that it may
// be asked.
func (d *doctor) checkDocker(ctx context.Context, runs bool) []Problem {
	var engine dockerd
	text, err := os.ReadFile(d.at(dockerConfig))
	if err == nil {
		err = json.Unmarshal(text, &engine)
	}
	if err = absent(err); err != nil {
		return []Problem{{dockerConfig + ": " + reason(err), "correct it"}}
	}
	found := d.checkStore(ctx, engine, runs)
	if d.config == nil {
		return found
	}
	if d.config.Gateway.Mode == "pod" {
		found = append(found, Problem{"gateway.mode is pod: Docker Engine sends no credential to the gateway", `set mode = "node", or nestctl uninstall and install without --for docker`})
	}
	return append(found, d.checkLegacy(engine)...)
}

// checkStore finds out which image store Docker Engine uses: by asking it, or
// else from its files, as it chooses one when it starts.
func (d *doctor) checkStore(ctx context.Context, engine dockerd, runs bool) []Problem {
	evidence := d.graphdriver(engine)
	if runs {
		snapshotter, err := d.askDocker(ctx)
		switch {
		case err == nil && snapshotter:
			return nil
		case err == nil:
			evidence = cmp.Or(evidence, dockerSocket)
		case evidence == "" && !engine.Features[containerdStore]:
			return []Problem{{"which image store Docker Engine uses cannot be found out: " + err.Error(), "start Docker, and run nestctl doctor as root; or " + storeFix}}
		}
	}
	if evidence == "" {
		return nil // Docker Engine 29 begins with the containerd image store
	}
	return []Problem{{evidence + ": Docker Engine uses its graphdriver image store, which does not ask the gateway", storeFix}}
}

// graphdriver says which file makes Docker Engine use the graphdriver image
// store; empty when none does.
func (d *doctor) graphdriver(engine dockerd) string {
	enabled, said := engine.Features[containerdStore]
	prior := d.priorDriver(cmp.Or(engine.DataRoot, "/var/lib/docker"))
	switch {
	case engine.UsernsRemap != "":
		return dockerConfig + `: "userns-remap", which the containerd image store cannot have`
	case enabled:
		return ""
	case said:
		return fmt.Sprintf("%s: %q: false", dockerConfig, containerdStore)
	case slices.Contains(append(graphDrivers[:], "vfs"), engine.StorageDriver):
		return fmt.Sprintf("%s: \"storage-driver\": %q", dockerConfig, engine.StorageDriver)
	case prior != "":
		return prior + " has images"
	}
	return ""
}

// priorDriver is the directory of a graph driver that is in use; empty when
// there is none.
func (d *doctor) priorDriver(root string) string {
	for _, driver := range graphDrivers {
		dir := filepath.Join(root, driver)
		if entries, err := os.ReadDir(d.at(dir)); err == nil && len(entries) > 0 {
			return dir
		}
	}
	return ""
}

// maxInfo bounds Docker Engine's answer, which has some KiB.
const maxInfo = 1 << 20

// askDocker reports whether Docker Engine uses the containerd image store.
func (d *doctor) askDocker(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/info", nil)
	if err != nil {
		return false, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.at(dockerSocket))
	}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var info struct{ DriverStatus [][2]string }
	if err = json.NewDecoder(io.LimitReader(response.Body, maxInfo)).Decode(&info); err != nil || response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s answers %d", dockerSocket, response.StatusCode)
	}
	return slices.ContainsFunc(info.DriverStatus, func(s [2]string) bool {
		return s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter.")
	}), nil
}

// checkLegacy looks for settings that Docker Engine ignores where a hosts.toml
// has more than one host, as it has with the gateway in it.
func (d *doctor) checkLegacy(engine dockerd) []Problem {
	var all []Problem
	for _, registry := range d.config.Gateway.Registries {
		path := d.hostsOf(node.DockerCerts, registry)
		text, err := os.ReadFile(d.at(path))
		if err != nil {
			continue // checkHosts says it
		}
		hosts, err := config.ParseHosts(path, text)
		if err != nil {
			continue // checkHosts says it
		}
		const ignored = ": is ignored for a registry with the gateway in its hosts.toml"
		if engine.insecure(registry) && hosts.Server.Plain && !strings.HasPrefix(hosts.Server.URL, "http://") {
			all = append(all, Problem{fmt.Sprintf("%s: \"insecure-registries\" has %s%s", dockerConfig, registry, ignored),
				fmt.Sprintf("write server = \"http://%s\", or skip_verify = true, at the beginning of %s, then %s", registry, path, d.installCommand())})
		}
		if registry == "docker.io" && len(engine.RegistryMirrors) > 0 && len(hosts.Hosts) < 2 {
			all = append(all, Problem{dockerConfig + `: "registry-mirrors"` + ignored,
				fmt.Sprintf("write each as [host.\"URL\"] into %s, then %s", path, d.installCommand())})
		}
	}
	return all
}

// insecure reports whether Docker Engine would ask a registry over http, or
// without verifying it. Names are not resolved.
func (engine dockerd) insecure(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	address, err := netip.ParseAddr(host)
	return slices.ContainsFunc(engine.InsecureRegistries, func(s string) bool {
		network, errPrefix := netip.ParsePrefix(s)
		return s == registry || err == nil && errPrefix == nil && network.Contains(address)
	})
}
