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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/nestedoci/nested/config"
)

// deployment is what a directory of deploy/kubernetes renders to.
type deployment struct {
	daemonSet *appsv1.DaemonSet
	config    map[string]string // data of its ConfigMap
}

// certsDirs is where each overlay's containerd looks for hosts.toml.
var certsDirs = map[string]string{
	"containerd": "/etc/containerd/certs.d",
	"k3s":        "/var/lib/rancher/k3s/agent/etc/containerd/certs.d",
	"rke2":       "/var/lib/rancher/rke2/agent/etc/containerd/certs.d",
}

// render renders a directory and decodes every object strictly.
func render(t *testing.T, dir string) deployment {
	t.Helper()
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	var d deployment
	kinds := map[string]int{}
	for _, object := range objects.Resources() {
		text, err := object.AsYAML()
		must(t, err)
		kinds[object.GetKind()]++
		var into any
		maps := new(corev1.ConfigMap)
		switch object.GetKind() {
		case "Namespace":
			into = new(corev1.Namespace)
		case "ServiceAccount":
			into = new(corev1.ServiceAccount)
		case "ConfigMap":
			into = maps
		case "DaemonSet":
			d.daemonSet = new(appsv1.DaemonSet)
			into = d.daemonSet
		default:
			t.Fatalf("%s: an object of kind %s", dir, object.GetKind())
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s: %s: %v", dir, object.GetKind(), err)
		}
		if maps.Data != nil {
			d.config = maps.Data
		}
	}
	if fmt.Sprint(kinds) != "map[ConfigMap:1 DaemonSet:1 Namespace:1 ServiceAccount:1]" {
		t.Fatalf("%s: objects %v", dir, kinds)
	}
	return d
}

// overlay is a user's own directory: one of the project's, with components and a configuration.
func overlay(t *testing.T, of, configuration string, components ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(tempDir(t))
	must(t, err)
	deploy, err := filepath.Abs("../deploy/kubernetes")
	must(t, err)
	deploy, err = filepath.EvalSymlinks(deploy)
	must(t, err)
	deploy, err = filepath.Rel(dir, deploy)
	must(t, err)
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: nested-system\nresources: [" + filepath.Join(deploy, of) + "]\n" +
		"configMapGenerator:\n- {name: nested-config, behavior: merge, files: [config.toml]}\n"
	if components != nil {
		text += "components:\n"
	}
	for _, c := range components {
		text += "- " + filepath.Join(deploy, "components", c) + "\n"
	}
	writeFile(t, filepath.Join(dir, "kustomization.yaml"), text)
	writeFile(t, filepath.Join(dir, "config.toml"), configuration)
	return dir
}

// TestDeployObjects: what base, overlays and components render to are objects of Kubernetes, with settings that keep the
// gateway in its place.
func TestDeployObjects(t *testing.T) {
	base := render(t, "../deploy/kubernetes/base")
	dirs := map[string]string{"base": "../deploy/kubernetes/base"}
	for name := range certsDirs {
		dirs[name] = "../deploy/kubernetes/overlays/" + name
		dirs[name+", uninstall"] = "../deploy/kubernetes/uninstall/" + name
		dirs[name+", secret"] = overlay(t, "overlays/"+name, base.config["config.toml"], "docker-secret")
		dirs[name+", helpers"] = overlay(t, "overlays/"+name, base.config["config.toml"], "host-helpers")
	}
	for name, dir := range dirs {
		t.Run(name, func(t *testing.T) {
			d := render(t, dir)
			d.checkPod(t)
			for _, c := range d.containers() {
				checkContainer(t, c)
			}
			d.checkVolumes(t)
			d.checkUpdate(t, strings.HasSuffix(name, "uninstall"))
			if got, want := fmt.Sprint(d.daemonSet.Spec.Selector), fmt.Sprint(base.daemonSet.Spec.Selector); got != want {
				t.Errorf("selector %s, and that of base is %s: it cannot be changed", got, want)
			}
			if !strings.HasSuffix(name, "uninstall") {
				d.checkProbes(t)
			}
		})
	}
}

func (d deployment) containers() []corev1.Container {
	pod := d.daemonSet.Spec.Template.Spec
	return slices.Concat(pod.InitContainers, pod.Containers)
}

func (d deployment) container(t *testing.T, name string) corev1.Container {
	t.Helper()
	all := d.containers()
	i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no container %s", name)
	}
	return all[i]
}

func (d deployment) checkPod(t *testing.T) {
	t.Helper()
	pod := d.daemonSet.Spec.Template.Spec
	for what, ok := range map[string]bool{
		"host network":                    pod.HostNetwork,
		"no other namespace of the host":  !pod.HostPID && !pod.HostIPC,
		"no token":                        pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"the node's names":                pod.DNSPolicy == corev1.DNSDefault,
		"priority":                        pod.PriorityClassName == "system-node-critical",
		"seccomp":                         pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"every taint is tolerated":        fmt.Sprint(pod.Tolerations) == fmt.Sprint([]corev1.Toleration{{Operator: corev1.TolerationOpExists}}),
		"a user that is meant":            pod.SecurityContext.RunAsUser != nil,
		"nodes of Linux":                  pod.NodeSelector["kubernetes.io/os"] == "linux",
		"labels that the selector finds":  d.daemonSet.Spec.Template.Labels["app.kubernetes.io/name"] == d.daemonSet.Spec.Selector.MatchLabels["app.kubernetes.io/name"],
		"one init container":              len(pod.InitContainers) == 1,
		"an account of its own":           pod.ServiceAccountName == "nested-gateway",
		"no variables of services":        pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks,
		"in a namespace":                  d.daemonSet.Namespace == "nested-system",
		"time to end":                     pod.TerminationGracePeriodSeconds != nil,
		"a default container that exists": slices.ContainsFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == d.defaultContainer() }),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

func (d deployment) defaultContainer() string {
	return d.daemonSet.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"]
}

func checkContainer(t *testing.T, c corev1.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || s.Capabilities == nil || s.AllowPrivilegeEscalation == nil || s.ReadOnlyRootFilesystem == nil {
		t.Fatalf("%s: security settings are missing", c.Name)
	}
	for what, ok := range map[string]bool{
		"no capability":             slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) && s.Capabilities.Add == nil,
		"no privilege":              !*s.AllowPrivilegeEscalation && (s.Privileged == nil || !*s.Privileged),
		"read-only root":            *s.ReadOnlyRootFilesystem,
		"an image":                  c.Image != "",
		"the image's program":       c.Command == nil && len(c.Args) > 0,
		"no port of the host's":     c.Ports == nil, // the scheduler would let no second pod start beside it
		"limits":                    !c.Resources.Limits.Cpu().IsZero() && !c.Resources.Limits.Memory().IsZero(),
		"requests":                  !c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(),
		"no secret in the settings": c.EnvFrom == nil,
	} {
		if !ok {
			t.Errorf("%s: not so: %s", c.Name, what)
		}
	}
}

// checkVolumes: the gateway writes nothing of the host's, and takes secrets and ConfigMaps file by file; nobody gets at
// more of the host than is named here.
func (d deployment) checkVolumes(t *testing.T) {
	t.Helper()
	volumes := map[string]corev1.Volume{}
	for _, v := range d.daemonSet.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v
		if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o400) {
			t.Errorf("secret %s can be read by others", v.Name)
		}
	}
	for _, c := range d.containers() {
		for _, m := range c.VolumeMounts {
			v, ok := volumes[m.Name]
			if !ok {
				t.Errorf("%s: no volume %s", c.Name, m.Name)
			}
			if v.HostPath != nil {
				path := v.HostPath.Path
				written := path == "/etc" || strings.HasPrefix(path, "/var/lib/rancher/") && strings.HasSuffix(path, "/agent/etc/containerd")
				if !m.ReadOnly && (c.Name == "gateway" || !written || m.MountPath != "/host"+path) {
					t.Errorf("%s: %s of the host is at %s", c.Name, path, m.MountPath)
				}
			}
			if c.Name == "gateway" && (v.Secret != nil || v.ConfigMap != nil) && (m.SubPath == "" || !m.ReadOnly) {
				t.Errorf("%s is mounted as a folder, which the gateway refuses", m.Name)
			}
		}
	}
}

func (d deployment) checkUpdate(t *testing.T, uninstall bool) {
	t.Helper()
	s := d.daemonSet.Spec.UpdateStrategy
	surge, unavailable := intstr.FromInt32(1), intstr.FromInt32(0)
	if uninstall {
		surge, unavailable = intstr.FromInt32(0), intstr.FromString("100%")
	}
	if s.Type != appsv1.RollingUpdateDaemonSetStrategyType || s.RollingUpdate == nil || s.RollingUpdate.MaxSurge == nil ||
		*s.RollingUpdate.MaxSurge != surge || *s.RollingUpdate.MaxUnavailable != unavailable {
		t.Errorf("update strategy %+v", s)
	}
}

// checkProbes: probes ask where the configuration says that the gateway answers, and the kubelet waits for transfers.
func (d deployment) checkProbes(t *testing.T) {
	t.Helper()
	c, err := config.Parse("config.toml", []byte(d.config["config.toml"]))
	must(t, err)
	g := d.container(t, "gateway")
	for name, probe := range map[string]*corev1.Probe{"startup": g.StartupProbe, "readiness": g.ReadinessProbe, "liveness": g.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Host+":"+probe.HTTPGet.Port.String() != c.Gateway.MetricsAddress {
			t.Errorf("%s probe: %+v", name, probe)
		}
	}
	if limit := time.Duration(*d.daemonSet.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; c.Gateway.Grace >= limit {
		t.Errorf("transfers may take %s, and are killed after %s", c.Gateway.Grace, limit)
	}
}

// deployNode is the disk of a machine on which a DaemonSet's containers run.
type deployNode struct {
	deployment
	dir    string // its root
	work   string // what the kubelet would keep elsewhere
	secret string // contents of the secret nested-docker
}

// command is a container's command with its mounts, as the kubelet and containerd make them.
func (n *deployNode) command(t *testing.T, name string) []string {
	t.Helper()
	c := n.container(t, name)
	root := filepath.Join(n.work, strconv.Itoa(time.Now().Nanosecond())+name)
	program, err := exec.LookPath("nestctl")
	must(t, err)
	writeFile(t, filepath.Join(root, "nestctl"), readText(t, program))
	must(t, os.Chmod(filepath.Join(root, "nestctl"), 0o755))
	must(t, os.Chmod(root, 0o755))
	script, err := filepath.Abs("testdata/container.sh")
	must(t, err)
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
	needs(t, "linux", "root", "nestctl", "unshare", "setpriv")
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

// TestDeployOnEmptyNode: where there was no folder for hosts.toml there is none afterwards.
func TestDeployOnEmptyNode(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "unshare", "setpriv")
	for overlayName, certs := range certsDirs {
		t.Run(overlayName, func(t *testing.T) {
			n := &deployNode{deployment: render(t, "../deploy/kubernetes/overlays/"+overlayName), dir: tempDir(t), work: tempDir(t)}
			n.furnish(t, filepath.Dir(filepath.Join(n.dir, certs)))
			if overlayName == "containerd" {
				must(t, os.RemoveAll(filepath.Join(n.dir, "etc/containerd")))
			}
			before := n.tree(t)
			n.run(t, "install")
			readText(t, filepath.Join(n.dir, certs, "registry.example.com/hosts.toml"))
			if got := readText(t, filepath.Join(n.dir, "etc/nested/config.toml")); got != n.config["config.toml"] {
				t.Errorf("the configuration is\n%s", got)
			}
			n.deployment = render(t, "../deploy/kubernetes/uninstall/"+overlayName)
			n.run(t, "uninstall")
			wantTree(t, n.tree(t), before)
		})
	}
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
