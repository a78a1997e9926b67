package node

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
	"github.com/nestedoci/nested/internal/usage"
)

// The names of clients; the directories of [Containerd] are options.
const (
	Containerd = "containerd"
	Docker     = "docker"
	K3s        = "k3s"
	RKE2       = "rke2"
	Containers = "containers" // what stands on containers/image: podman, buildah, skopeo, CRI-O
	BuildKit   = "buildkit"
)

// DockerCerts is the directory in which Docker Engine looks for the hosts.toml
// files of registries when it has the containerd image store.
const DockerCerts = "/etc/docker/certs.d"

// RancherDir is the directory of the containerd that is in k3s or RKE2.
func RancherDir(client string) string {
	return "/var/lib/rancher/" + client + "/agent/etc/containerd"
}

// client is a program that pulls through the gateway: a value of --for.
type client struct {
	name  string
	hosts string   // its directory of hosts.toml files
	signs []string // a node with the program has one of these
	// rewrites says that it writes its hosts.toml files anew when it starts.
	rewrites bool
	// refuses says why options cannot work with the program, with a next step;
	// nil when any can.
	refuses func(Options) error
	// idle says why the program on a root would not ask the gateway, so that it
	// is installed for only when it is named; nil when any does.
	idle func(root string) error
}

// clients are all programs that can be installed for. Where their hosts.toml
// files differ, the gateway goes upstream as the first says.
func clients() []client {
	return []client{
		{
			name:  Containerd, // the containers of a DaemonSet have nothing of it but the directory
			signs: []string{"/etc/containerd", "/usr/bin/containerd", "/usr/local/bin/containerd", "/run/containerd/containerd.sock"},
		},
		{
			name:    Docker,
			hosts:   DockerCerts,
			signs:   []string{"/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/run/docker.pid"}, // podman has files in /etc/docker, too
			refuses: nodeOnly("Docker Engine"),
			idle:    idleDocker,
		},
		{name: K3s, hosts: RancherDir(K3s) + "/certs.d", rewrites: true, signs: []string{"/var/lib/rancher/k3s/agent", "/usr/local/bin/k3s"}},
		{name: RKE2, hosts: RancherDir(RKE2) + "/certs.d", rewrites: true, signs: []string{"/var/lib/rancher/rke2/agent", "/usr/local/bin/rke2", "/usr/bin/rke2"}},
		{
			name:  Containers,
			signs: []string{"/usr/bin/podman", "/usr/bin/buildah", "/usr/bin/skopeo", "/usr/bin/crio", "/usr/local/bin/podman", "/usr/local/bin/crio", "/etc/crio"},
			refuses: func(o Options) error {
				if !strings.HasPrefix(o.Address, "[") {
					return nil
				}
				return fmt.Errorf("these programs cannot name a mirror at the IPv6 address %s, and would pull nothing at all; use an address on 127.0.0.1", o.Address)
			},
		},
		{
			name:    BuildKit,
			signs:   []string{"/etc/buildkit", "/usr/bin/buildkitd", "/usr/local/bin/buildkitd"},
			refuses: nodeOnly("BuildKit"),
		},
	}
}

// nodeOnly refuses mode pod. Docker Engine gives a credential to hosts of the
// registry's own name alone, and says "Host doesn't match" of the gateway;
// BuildKit looks for one of the gateway's address.
func nodeOnly(program string) func(Options) error {
	return func(o Options) error {
		if o.Mode != "pod" {
			return nil
		}
		return fmt.Errorf("mode pod cannot work, because %s sends no credential to a mirror; use mode node, or nestctl serve (docs/serve.md)", program)
	}
}

// ClientNames are the values of --for.
func ClientNames() []string {
	var all []string
	for _, c := range clients() {
		all = append(all, c.name)
	}
	return all
}

// parseClients reads names of clients, each one or several with commas between.
func parseClients(lists []string) (names []string, err error) {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if !slices.Contains(ClientNames(), name) {
				return nil, usage.Optionf("for", " %.64q: must be one of %s", name, strings.Join(ClientNames(), ", "))
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// Names reports whether options name a client.
func (o Options) Names(client string) bool {
	names, err := parseClients(o.For)
	return err == nil && slices.Contains(names, client)
}

// DirsOf are the directories of a client's hosts.toml files.
func (o *Options) DirsOf(name string) []string {
	if name == Containerd {
		return o.ContainerdCerts
	}
	at := slices.IndexFunc(clients(), func(c client) bool { return c.name == name && c.hosts != "" })
	if at < 0 {
		return nil
	}
	return []string{clients()[at].hosts}
}

// doesFor says what is done for a client.
func (o *Options) doesFor(c client) string {
	if c.name == Containers {
		return "a mirror for each registry, which podman, buildah, skopeo and CRI-O read in " + containersDropIn
	}
	if c.name == BuildKit {
		return "certificates in " + BuildKitCerts + ", and with --for buildkit the text to add to " + BuildKitConfig + " on standard output"
	}
	return "hosts.toml of each registry in " + strings.Join(o.DirsOf(c.name), ", ")
}

// writable are the directories of clients in which a renewal writes.
func (o *Options) writable() []string {
	if slices.Contains(o.For, Containers) {
		return append(o.HostsDirs(), registriesconf.Dir)
	}
	return o.HostsDirs()
}

// HostsDirs are the directories of hosts.toml files of all clients that are
// installed for.
func (o *Options) HostsDirs() []string {
	var all []string
	for _, c := range clients() {
		if slices.Contains(o.For, c.name) {
			all = appendNew(all, o.DirsOf(c.name))
		}
	}
	return all
}

// settle completes options: they add clients and directories to those of the
// installation, and what is found on the node is installed for where neither
// names a client. It returns what is done for each client, and why nothing is.
func (i installed) settle(o *Options) (does []string, err error) {
	recorded := i.record.Options
	o.For = appendNew(recorded.For, o.For)
	if len(o.ContainerdCerts) > 0 {
		o.For = appendNew(o.For, []string{Containerd})
	}
	o.ContainerdCerts = appendNew(recorded.ContainerdCerts, o.ContainerdCerts)
	o.AllowGroup = cmp.Or(o.AllowGroup, recorded.AllowGroup)
	found := map[string]string{}
	if len(o.For) == 0 {
		found, does = i.find(o)
	}
	if slices.Contains(o.For, Containerd) && len(o.ContainerdCerts) == 0 {
		o.ContainerdCerts = Directories{config.ContainerdCerts}
	}
	if o.AllowGroup != "" && !slices.Contains(o.For, Containers) {
		return nil, usage.Optionf("allow-group", " is for podman and its like; add --for %s", Containers)
	}
	for _, c := range clients() {
		if !slices.Contains(o.For, c.name) {
			continue
		}
		if c.refuses != nil && c.refuses(*o) != nil {
			return nil, usage.Optionf("for", " %s: %w", c.name, c.refuses(*o))
		}
		does = append(does, fmt.Sprintf("for %s%s: %s", c.name, found[c.name], o.doesFor(c)))
	}
	return does, nil
}

// find installs for the clients that are found on the node, or else for
// containerd. It returns where each was found, and why others are left out.
func (i installed) find(o *Options) (found map[string]string, leftOut []string) {
	found = map[string]string{}
	for _, c := range clients() {
		path := i.disk.first(c.signs)
		if path == "" {
			continue
		}
		if err := c.unfit(*o, i.disk.root.Name()); err != nil {
			leftOut = append(leftOut, fmt.Sprintf("not for %s, found by %s: %s", c.name, path, err))
		} else {
			o.For = append(o.For, c.name)
			found[c.name] = ", found by " + path
		}
	}
	if len(o.For) == 0 {
		o.For = []string{Containerd}
	}
	return found, leftOut
}

// Found is a client that is on a node and that is not installed for.
type Found struct {
	Name, Path string // Path is what it was found by
	Unfit      error  // why it would not pull through the gateway, with a next step; nil when it would
}

// Others finds the clients on a root that options do not name.
func (o Options) Others(root string) ([]Found, error) {
	d, err := openDisk(root)
	if err != nil {
		return nil, err
	}
	defer d.close()
	var all []Found
	for _, c := range clients() {
		if path := d.first(c.signs); path != "" && !slices.Contains(o.For, c.name) {
			all = append(all, Found{c.name, path, c.unfit(o, d.root.Name())})
		}
	}
	return all, nil
}

// unfit says why a client that was found is not installed for unasked.
func (c client) unfit(o Options, root string) error {
	if c.refuses != nil && c.refuses(o) != nil {
		return c.refuses(o)
	}
	if c.idle != nil {
		return c.idle(root)
	}
	return nil
}

// first is the first path that exists; empty when none does, or when that
// cannot be found out: the plan shows what was found.
func (d *disk) first(paths []string) string {
	i := slices.IndexFunc(paths, func(path string) bool {
		if !d.image {
			_, err := os.Stat(path) // links may lead anywhere
			return err == nil
		}
		_, err := d.root.Stat(d.name(path))
		return err == nil
	})
	if i < 0 {
		return ""
	}
	return paths[i]
}
