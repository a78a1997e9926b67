package doctor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/node"
)

// TestDoctorFindsLocalPull has each setting with which CRI leaves the transfer
// service, in the two shapes of containerd's configuration.
func TestDoctorFindsLocalPull(t *testing.T) {
	for setting, want := range map[string]string{
		"disable_snapshot_annotations = false":                        "disable_snapshot_annotations = false: *; fix: remove it*",
		"discard_unpacked_layers = true":                              "discard_unpacked_layers = true: *; fix: remove it, and restart containerd",
		"max_concurrent_downloads = 5":                                `max_concurrent_downloads is not 3: *; fix: set it in [plugins."io.containerd.transfer.v1.local"] in its place*`,
		"image_pull_with_sync_fs = true":                              "image_pull_with_sync_fs = true: *; fix: remove it*",
		"use_local_image_pull = true":                                 "use_local_image_pull = true: *; fix: remove it*",
		`registry.mirrors."reg.test".endpoint = ["https://m.test"]`:   "registry.mirrors is set: *; fix: write the mirrors into hosts.toml*",
		`registry.configs."reg.test".tls.insecure_skip_verify = true`: "registry.configs is set: *; fix: write CAs*",
		`registry.auths."https://reg.test".auth = "HUNTER2"`:          "registry.auths is set: *; fix: write the credentials into docker_config*",
		"disable_snapshot_annotations = true":                         "",
		"max_concurrent_downloads = 3":                                "",
	} {
		old := setting
		if strings.HasPrefix(setting, "dis") {
			old = "containerd." + setting
		}
		for plugin, text := range map[string]string{
			"io.containerd.cri.v1.images": "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nregistry.config_path = \"/etc/containerd/certs.d\"\n" + setting + "\n",
			"io.containerd.grpc.v1.cri":   "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nregistry.config_path = \"/etc/containerd/certs.d\"\n" + old + "\n",
		} {
			n := newMachine(t, map[string]string{containerd: text})
			d := load(Options{Root: n.Root, ContainerdConfig: containerd})
			var got []string
			for _, p := range append(d.checkRoots(t.Context()), d.checkPull(t.Context())...) {
				got = append(got, p.String())
			}
			line := ""
			if want != "" {
				line = fmt.Sprintf("problem: %s: [plugins.%q] %s", containerd, plugin, want)
			}
			if !fits(line, strings.Join(got, "\n")) {
				t.Errorf("%s:\n%s", text, strings.Join(got, "\n"))
			}
		}
	}
}

// TestDoctorFindsProxyOfContainerdAlone reads the files of both units.
func TestDoctorFindsProxyOfContainerdAlone(t *testing.T) {
	for _, test := range []struct {
		theirs, ours string
		want         int
	}{
		{"Environment=HTTPS_PROXY=http://p", "", 1},
		{"Environment=https_proxy=http://p", "", 1},
		{"Environment='HTTPS_PROXY=http://p' \"NO_PROXY=a,b\"", "", 2},
		{"Environment=HTTPS_PROXY=http://p", "Environment=HTTPS_PROXY=http://q", 0},
		{"Environment=HTTPS_PROXY=http://p", "Environment=https_proxy=http://q", 0},
		{"Environment=HTTPS_PROXY=http://p", "Environment=HTTPS_PROXY=http://q\nEnvironment=", 1},
		{"Environment=HTTPS_PROXY=http://p\nEnvironment=", "", 0},
		{"Environment=HTTPS_PROXY=", "", 0},
		{"# Environment=HTTPS_PROXY=http://p", "", 0},
		{"Environment=PATH=/bin", "", 0},
	} {
		n := newMachine(t, map[string]string{
			node.UnitDir + "/containerd.service.d/a.conf":     "[Service]\n" + test.theirs + "\n",
			node.UnitDir + "/nested-gateway.service.d/a.conf": "[Service]\n" + test.ours + "\n",
		})
		d := load(Options{Root: n.Root})
		if found := d.checkProxy(t.Context()); len(found) != test.want {
			t.Errorf("%+v: %v", test, found)
		}
	}
}
