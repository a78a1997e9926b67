//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nestedoci/nested/config"
)

// deployNode is the disk of a machine on which a DaemonSet's containers run.
type deployNode struct {
	deployment
	dir    string // its root
	work   string // what the kubelet would keep elsewhere
	secret string // contents of the secret nested-docker
}

// containerScript puts nestctl into the root of a container, and returns the script that runs one.
func containerScript(t *testing.T, root string) string {
	t.Helper()
	program, err := exec.LookPath("nestctl")
	must(t, err)
	writeFile(t, filepath.Join(root, "nestctl"), readText(t, program))
	must(t, os.Chmod(filepath.Join(root, "nestctl"), 0o755))
	must(t, os.Chmod(root, 0o755))
	script, err := filepath.Abs("testdata/container.sh")
	must(t, err)
	return script
}

// command is a container's command with its mounts, as the kubelet and containerd make them.
func (n *deployNode) command(t *testing.T, name string) []string {
	t.Helper()
	c := n.container(t, name)
	root := filepath.Join(n.work, strconv.Itoa(time.Now().Nanosecond())+name)
	script := containerScript(t, root)
	command := []string{"unshare", "--mount", "sh", script, root}
	for _, m := range c.VolumeMounts {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		command = append(command, mode, filepath.Join(n.source(t, m.Name), m.SubPath), m.MountPath)
	}
	return append(append(command, "--", "/nestctl"), c.Args...)
}

// source is the folder of a volume.
func (n *deployNode) source(t *testing.T, volume string) string {
	t.Helper()
	all := n.daemonSet.Spec.Template.Spec.Volumes
	v := all[slices.IndexFunc(all, func(v corev1.Volume) bool { return v.Name == volume })]
	dir := filepath.Join(n.work, volume)
	switch {
	case v.HostPath != nil:
		dir = filepath.Join(n.dir, v.HostPath.Path)
		if v.HostPath.Type == nil || *v.HostPath.Type == corev1.HostPathUnset {
			must(t, os.MkdirAll(dir, 0o755)) // when the container is made
		} else if info, err := os.Stat(dir); *v.HostPath.Type != corev1.HostPathDirectory || err != nil || !info.IsDir() {
			t.Fatalf("volume %s: %v", volume, err) // before any container is made
		}
	case v.ConfigMap != nil:
		atomically(t, dir, n.config, 0o644)
	case v.Secret != nil:
		atomically(t, dir, map[string]string{v.Secret.Items[0].Path: n.secret}, fs.FileMode(*v.Secret.DefaultMode))
	default:
		must(t, os.MkdirAll(dir, 0o777))
		must(t, os.Chmod(dir, 0o777))
	}
	return dir
}

// atomically lays files out as the kubelet does: links in a folder that everybody may write.
func atomically(t *testing.T, dir string, files map[string]string, mode fs.FileMode) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	data := filepath.Join(dir, "..2026_01_01_00_00_00.1")
	must(t, os.MkdirAll(data, 0o755))
	must(t, os.Chmod(dir, 0o777))
	must(t, os.Symlink(filepath.Base(data), filepath.Join(dir, "..data")))
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(data, name), []byte(text), mode))
		must(t, os.Symlink("..data/"+name, filepath.Join(dir, name)))
	}
}

func (n *deployNode) run(t *testing.T, name string) string {
	t.Helper()
	command := n.command(t, name)
	return runCommand(t, exec.CommandContext(t.Context(), command[0], command[1:]...))
}

func (n *deployNode) start(t *testing.T, name string) *process {
	t.Helper()
	command := n.command(t, name)
	return start(t, command[0], command[1:]...)
}

func (n *deployNode) tree(t *testing.T) map[string]string {
	t.Helper()
	return treeOf(t, n.dir)
}

// treeOf is every file and directory of one with its mode, owner, and bytes or target.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintln(info.Mode(), owner.Uid, owner.Gid)
		var data []byte
		switch {
		case info.Mode().IsRegular():
			data, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			data = []byte(target)
		}
		all[strings.TrimPrefix(path, dir)] = text + string(data)
		return err
	}))
	return all
}

func wantTree(t *testing.T, got, want map[string]string) {
	t.Helper()
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s became\n%s\nit was\n%s", path, got[path], text)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is left", path)
		}
	}
}

// TestDeployOnNode: the containers' own command lines, with their mounts, a read-only root and no capabilities, bring a
// node to pulling with a secret's credentials; an update takes place beside a pull; what removes them leaves the node
// byte for byte as it was.
func TestDeployOnNode(t *testing.T) {
	needs(t, "all", "linux", "root", "nestctl", "unshare", "setpriv")
	a := publish(t, newApp(t))
	docker := readText(t, filepath.Join(dockerConfig(t, a.logins, nil), "config.json"))
	for overlayName, certs := range certsDirs {
		t.Run(overlayName, func(t *testing.T) {
			daemon := startContainerd(t)
			metrics := freeAddress(t)
			configuration := fmt.Sprintf("[credentials]\ndocker_config = [\"/docker/config.json\"]\n[gateway]\nmode = \"node\"\nregistries = [%q]\naddress = %q\nmetrics_address = %q\n",
				a.host, freeAddress(t), metrics)
			n := &deployNode{deployment: render(t, overlay(t, "overlays/"+overlayName, configuration, "docker-secret")),
				dir: tempDir(t), work: tempDir(t), secret: docker}
			// Of one machine's gateways there may be only one, and here are several.
			name := "nested-test" + n.dir
			for i := range n.daemonSet.Spec.Template.Spec.Containers {
				args := n.daemonSet.Spec.Template.Spec.Containers[i].Args
				if at := slices.Index(args, "nested-gateway"); at > 0 {
					args[at] = name
				}
			}
			certsD := filepath.Join(n.dir, certs)
			n.furnish(t, filepath.Dir(certsD))
			writeHosts(t, certsD, a.host, a.hostsOf())
			before := n.tree(t)

			n.run(t, "install")
			gateway := n.start(t, "gateway")
			gateway.await(t, func() bool { return strings.Contains(readText(t, gateway.log), "serving ") })
			daemon.pullHosts(t, transfer, certsD, a.ref)

			// The next pod, while this one runs.
			n.run(t, "install")
			n.work = tempDir(t)
			later := n.start(t, "gateway")
			later.await(t, func() bool { return strings.Contains(readText(t, later.log), "serving ") })
			gateway.stop(t)
			daemon.in("later").pullHosts(t, transfer, certsD, a.ref)

			// Somebody writes hosts.toml anew, as k3s does when it starts: the gateway is put back.
			hosts := filepath.Join(certsD, a.host, "hosts.toml")
			writeHosts(t, certsD, a.host, a.hostsOf())
			keep := n.start(t, "keep")
			keep.await(t, func() bool {
				return strings.Contains(readText(t, keep.log), "wrote "+filepath.Join(certs, a.host, "hosts.toml"))
			})
			keep.stop(t)
			if text := readText(t, hosts); !strings.Contains(text, "nested-") {
				t.Errorf("the gateway is not in\n%s", text)
			}
			later.stop(t)
			for _, p := range []*process{gateway, later, keep} {
				if code := p.cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("%v: exit status %d", p.cmd.Args, code)
				}
			}

			n.deployment = render(t, "../deploy/kubernetes/uninstall/"+overlayName)
			n.run(t, "uninstall")
			wantTree(t, n.tree(t), before)
			stay := n.start(t, "uninstalled")
			stay.await(t, func() bool { return strings.Contains(readText(t, stay.log), "nothing is installed") })
			stay.stop(t)
			if code := stay.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
			wantTree(t, n.tree(t), before)
		})
	}
}

// furnish puts on a node what is not ours.
func (n *deployNode) furnish(t *testing.T, containerd string) {
	t.Helper()
	must(t, os.Chmod(n.dir, 0o755))
	writeFile(t, filepath.Join(n.dir, "etc/hostname"), "node\n")
	writeFile(t, filepath.Join(n.dir, "etc/systemd/system/containerd.service.d/a.conf"), "[Service]\n")
	must(t, os.Symlink("../usr/share/zoneinfo/UTC", filepath.Join(n.dir, "etc/localtime")))
	writeFile(t, filepath.Join(containerd, "config.toml"), "version = 3\n")
	must(t, os.Chmod(containerd, 0o750))
}

// TestDeployOnEmptyNode: where there was no folder for hosts.toml there is none afterwards. Whatever else is on the node, as
// Docker Engine is, the installation is for the containerd of its kubelet alone.
func TestDeployOnEmptyNode(t *testing.T) {
	needs(t, "all", "linux", "root", "nestctl", "unshare", "setpriv")
	for overlayName, certs := range certsDirs {
		t.Run(overlayName, func(t *testing.T) {
			checkEmptyNode(t, "../deploy/kubernetes/overlays/"+overlayName, overlayName, certs)
			// Docker Engine could be installed for in mode node.
			checkEmptyNode(t, overlay(t, "overlays/"+overlayName, "[gateway]\nmode = \"node\"\nregistries = [\"registry.example.com\"]\n"), overlayName, certs)
		})
	}
}

func checkEmptyNode(t *testing.T, dir, overlayName, certs string) {
	t.Helper()
	n := &deployNode{deployment: render(t, dir), dir: tempDir(t), work: tempDir(t)}
	n.furnish(t, filepath.Dir(filepath.Join(n.dir, certs)))
	if overlayName == "containerd" {
		must(t, os.RemoveAll(filepath.Join(n.dir, "etc/containerd")))
	}
	writeFile(t, filepath.Join(n.dir, "etc/docker/daemon.json"), "{}")
	before := n.tree(t)
	n.run(t, "install")
	if _, err := os.Stat(filepath.Join(n.dir, "etc/docker/certs.d")); err == nil {
		t.Error("it is for Docker Engine, too")
	}
	readText(t, filepath.Join(n.dir, certs, "registry.example.com/hosts.toml"))
	if got := readText(t, filepath.Join(n.dir, "etc/nested/config.toml")); got != n.config["config.toml"] {
		t.Errorf("the configuration is\n%s", got)
	}
	n.deployment = render(t, "../deploy/kubernetes/uninstall/"+overlayName)
	n.run(t, "uninstall")
	wantTree(t, n.tree(t), before)
}

// TestDeploySecretFolder: why the secret is mounted as a file: its folder is one that everybody may write.
func TestDeploySecretFolder(t *testing.T) {
	dir := filepath.Join(tempDir(t), "secret")
	text, err := json.Marshal(map[string]any{"auths": map[string]any{}})
	must(t, err)
	atomically(t, dir, map[string]string{"config.json": string(text)}, 0o400)
	if err := config.CheckFile(filepath.Join(dir, "config.json")); err == nil {
		t.Error("a file in a folder that everybody may write is trusted")
	}
}
