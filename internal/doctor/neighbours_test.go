package doctor

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/node"
)

const (
	certsD = "/etc/containerd/certs.d"
	// spegelHosts and dragonflyHosts are what these programs write.
	spegelHosts = "server = 'https://reg.test'\n\n[host.'http://10.0.0.1:30020']\ncapabilities = ['pull', 'resolve']\ndial_timeout = '200ms'\n"
	dragonfly   = "[host.\"http://127.0.0.1:4001\"]\ncapabilities = [\"pull\", \"resolve\"]\n\n[host.\"http://127.0.0.1:4001\".header]\nX-Dragonfly-Registry = \"https://reg.test\"\n"
	nydus       = "version = 1\n[remote]\nconvert_vpc_registry = false\n[remote.mirrors_config]\ndir = \""
	stargz      = "[[resolver.host.\"reg.test\".mirrors]]\nhost = \""
)

// TestDoctorKnowsNeighbours: what other programs leave on a node is recognized where it keeps containerd, or them, from
// pulling, with what to set.
func TestDoctorKnowsNeighbours(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(n *machine)
		want  string
	}{
		"Spegel": {func(n *machine) {
			n.Must(os.Mkdir(n.Path(certsD+"/_backup"), 0o755))
			n.Must(os.Rename(n.Path(reg), n.Path(certsD+"/_backup/reg.test")))
			n.Put(map[string]string{reg + "hosts.toml": spegelHosts})
		}, "problem: " + certsD + "/_backup: Spegel moves what is in " + certsD + " there when it starts, the gateway's hosts.toml, too; " +
			"fix: in Spegel's Helm values set spegel.containerdMirrorAdd=false, or spegel.prependExisting=true *; move back * then nestctl install --mode node --registry reg.test *"},
		"Dragonfly": {func(n *machine) {
			n.Put(map[string]string{reg + "hosts.toml": "server = \"https://reg.test\"\n\n" + dragonfly})
		}, "problem: " + reg + "hosts.toml: Dragonfly's dfinit writes this file anew when it starts, without the gateway; " +
			"fix: leave reg.test out of containerRuntime.containerd.registries of dfinit, then nestctl install *, which keeps Dragonfly's mirror after the gateway"},
		"Dragonfly first": {func(n *machine) {
			n.Edit(reg+"hosts.toml", "[host", dragonfly+"\n[host")
		}, "problem: " + reg + "hosts.toml: Dragonfly's dfinit *"},
		"nydus": {func(n *machine) {
			n.Put(map[string]string{"/etc/nydus/config.toml": nydus + certsD + "/\"\n"})
		}, "problem: /etc/nydus/config.toml: remote.mirrors_config.dir = \"" + certsD + "/\": nydus uses the first host there, the gateway, without its client certificate*; " +
			"fix: set remote.mirrors_config.dir to a directory of nydus's own, *"},
		"nydus under another name": {func(n *machine) {
			n.Put(map[string]string{"/etc/nydus/config-proxy.toml": nydus + "/etc/nydus/certs.d\"\n"})
			n.Must(os.Symlink("../containerd/certs.d", n.Path("/etc/nydus/certs.d")))
		}, "problem: /etc/nydus/config-proxy.toml: remote.mirrors_config.dir = \"/etc/nydus/certs.d\": nydus *"},
		"stargz": {func(n *machine) {
			n.Put(map[string]string{stargzConfig: stargz + n.address() + "\"\n"})
		}, "problem: " + stargzConfig + ": the gateway is a mirror of reg.test: stargz-snapshotter asks it without TLS*; fix: remove that mirror, and restart stargz-snapshotter"},
	} {
		t.Run(name, func(t *testing.T) {
			n := healthy(t, installOn("reg.test"))
			test.spoil(n)
			if lines := strings.Split(n.look(), "\n"); !slices.ContainsFunc(lines, func(l string) bool { return fits(test.want, l) }) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), test.want)
			}
		})
	}
}

// TestDoctorNotesNeighbours: neighbours with which all is well are no problem, and are named.
func TestDoctorNotesNeighbours(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"none": {nil, nil},
		"Dragonfly after the gateway": {map[string]string{reg + "hosts.toml": "server = \"https://reg.test\"\n\n" + dragonfly},
			[]string{"note: " + reg + "hosts.toml: Dragonfly's dfinit writes this file anew *; leave reg.test out of *"}},
		"nydus":                {map[string]string{"/etc/nydus/config.toml": nydus + "/etc/nydus/certs.d\"\n"}, []string{"note: /etc/nydus/config.toml: nydus fetches layers by the name of the image*; name *containerd-nested*"}},
		"nydus without a dir":  {map[string]string{"/etc/nydus/config.toml": nydus + "\"\n"}, []string{"note: /etc/nydus/config.toml: nydus fetches*"}},
		"nydus does not parse": {map[string]string{"/etc/nydus/config.toml": "[remote"}, []string{"note: /etc/nydus/config.toml: *; nydus-snapshotter needs it; correct it"}},
		"stargz": {map[string]string{stargzConfig: stargz + "mirror.test\"\n[[resolver.host.\"other.test\".mirrors]]\nhost = \"127.0.0.1:7117\"\n"},
			[]string{"note: " + stargzConfig + ": stargz-snapshotter reads no hosts.toml *; name *"}},
		"stargz without a configuration": {map[string]string{"/etc/containerd-stargz-grpc/x": ""}, []string{"note: " + stargzConfig + ": stargz-snapshotter reads *"}},
		"stargz does not parse":          {map[string]string{stargzConfig: "resolver = 7"}, []string{"note: " + stargzConfig + ": *; stargz-snapshotter needs it; correct it"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := healthy(t, installOn("reg.test"))
			n.Put(test.files)
			_, err := node.Repeat(t.Context(), n.Root) // puts the gateway first
			n.Must(err)
			if out := n.look(); out != "no problem found\n" {
				t.Error(out)
			}
			if !slices.EqualFunc(test.want, n.notes, fits) {
				t.Errorf("got %q\nwant %q", n.notes, test.want)
			}
		})
	}
}
