package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/remotes/auth"
)

const (
	dockerSocket = "/run/docker.sock"
	// storeFix is what to do about an image store that follows nothing.
	storeFix = `set "features": {"` + node.ContainerdStore + `": true} in ` + node.DockerConfig + ", restart Docker and pull again, because the store has other images; " +
		"or let Docker pull from nestctl serve (docs/serve.md)"
	// oldFix is what to do about a version that reads no hosts.toml.
	oldFix = "update Docker Engine to 28 or later, and then " + storeFix
)

// checkDocker looks at Docker Engine's own configuration. runs says that it may
// be asked.
func (d *doctor) checkDocker(ctx context.Context, runs bool) []Problem {
	engine, err := node.ReadDockerEngine(d.Root)
	if err != nil {
		return d.stops(node.DockerCerts, "", Problem{err.Error(), "correct it"})
	}
	found := d.stops(node.DockerCerts, "", d.checkStore(ctx, engine, runs)...)
	if d.config == nil {
		return found
	}
	if d.config.Gateway.Mode == "pod" {
		found = append(found, d.stops(node.DockerCerts, "", Problem{"gateway.mode is pod: Docker Engine sends no credential to the gateway", `set mode = "node", or nestctl uninstall and install without --for docker`})...)
	}
	return append(found, d.checkLegacy(engine)...)
}

// checkStore finds out which image store Docker Engine uses: by asking it, or
// else from its files, as it chooses one when it starts.
func (d *doctor) checkStore(ctx context.Context, engine node.DockerEngine, runs bool) []Problem {
	evidence := engine.Graphdriver()
	if runs {
		info, err := d.askDocker(ctx)
		switch {
		case err == nil && info.old():
			return []Problem{{fmt.Sprintf("%s: Docker Engine %.64q reads no hosts.toml and does not ask the gateway", dockerSocket, info.ServerVersion), oldFix}}
		case err == nil && info.snapshotter():
			return nil
		case err == nil:
			evidence = cmp.Or(evidence, dockerSocket)
		case evidence == "" && errors.Is(err, fs.ErrNotExist):
			d.note("Docker Engine does not run: "+err.Error(), "when it does, nestctl doctor finds out which image store it uses")
		case evidence == "" && !engine.Features[node.ContainerdStore]:
			return []Problem{{"which image store Docker Engine uses cannot be found out: " + err.Error(), "start Docker, and run nestctl doctor as root; or " + storeFix}}
		}
	}
	if evidence == "" {
		return nil // Docker Engine 29 begins with the containerd image store
	}
	return []Problem{{evidence + ": Docker Engine uses its graphdriver image store, which does not ask the gateway", storeFix}}
}

// dockerInfo is what Docker Engine says of itself.
type dockerInfo struct {
	ServerVersion string
	DriverStatus  [][2]string
}

// snapshotter reports whether it uses the containerd image store.
func (i dockerInfo) snapshotter() bool {
	return slices.ContainsFunc(i.DriverStatus, func(s [2]string) bool {
		return s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter.")
	})
}

// old reports whether it is from before version 28.0, the first that reads
// hosts.toml (moby's daemon/hosts.go), with either image store. A version that
// is no number is not.
func (i dockerInfo) old() bool {
	major, _, _ := strings.Cut(i.ServerVersion, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 28
}

func (d *doctor) askDocker(ctx context.Context) (info dockerInfo, err error) {
	c := client{address: "http://docker", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.at(dockerSocket))
		},
	}}}
	defer c.http.CloseIdleConnections()
	a, err := c.get(ctx, answerTime, "/info")
	if err != nil {
		return info, auth.WithoutURL(err)
	}
	if err = json.Unmarshal(a.body, &info); err != nil || a.status != http.StatusOK {
		return info, fmt.Errorf("%s answers %d", dockerSocket, a.status)
	}
	return info, nil
}

// checkLegacy looks for settings that Docker Engine ignores where a hosts.toml
// has more than one host, as it has with the gateway in it.
func (d *doctor) checkLegacy(engine node.DockerEngine) []Problem {
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
		if engine.Insecure(registry) && hosts.Server.Plain && !strings.HasPrefix(hosts.Server.URL, "http://") {
			all = append(all, Problem{fmt.Sprintf("%s: \"insecure-registries\" has %s%s", node.DockerConfig, registry, ignored),
				fmt.Sprintf("write server = \"http://%s\", or skip_verify = true, at the beginning of %s, then %s", registry, path, d.installCommand())})
		}
		if registry == "docker.io" && len(engine.RegistryMirrors) > 0 && len(hosts.Hosts) < 2 {
			all = append(all, Problem{node.DockerConfig + `: "registry-mirrors"` + ignored,
				fmt.Sprintf("write each as [host.\"URL\"] into %s, then %s", path, d.installCommand())})
		}
	}
	return all
}
