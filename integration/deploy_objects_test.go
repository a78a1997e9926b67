//go:build linux

package integration

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
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

// newObjects are new objects of each kind that the project deploys.
var newObjects = map[string]func() any{
	"ConfigMap":               func() any { return new(corev1.ConfigMap) },
	"DaemonSet":               func() any { return new(appsv1.DaemonSet) },
	"Deployment":              func() any { return new(appsv1.Deployment) },
	"HorizontalPodAutoscaler": func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"Ingress":                 func() any { return new(networkingv1.Ingress) },
	"Namespace":               func() any { return new(corev1.Namespace) },
	"NetworkPolicy":           func() any { return new(networkingv1.NetworkPolicy) },
	"PodDisruptionBudget":     func() any { return new(policyv1.PodDisruptionBudget) },
	"Service":                 func() any { return new(corev1.Service) },
	"ServiceAccount":          func() any { return new(corev1.ServiceAccount) },
}

// renderObjects renders a directory, and decodes every object strictly. There is one of each kind.
func renderObjects(t *testing.T, dir string) map[string]any {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	text, err := rendered.AsYaml()
	must(t, err)
	return decodeObjects(t, dir, string(text))
}

// decodeObjects decodes documents of YAML.
func decodeObjects(t *testing.T, from, text string) map[string]any {
	t.Helper()
	objects := map[string]any{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var meta metav1.TypeMeta
		must(t, yaml.Unmarshal([]byte(document), &meta))
		if meta.Kind == "" && strings.Trim(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(document, ""), "\n ") == "" {
			continue // comments
		}
		if newObjects[meta.Kind] == nil || objects[meta.Kind] != nil {
			t.Fatalf("%s: an object of kind %q", from, meta.Kind)
		}
		objects[meta.Kind] = newObjects[meta.Kind]()
		if err := yaml.UnmarshalStrict([]byte(document), objects[meta.Kind]); err != nil {
			t.Errorf("%s: %s: %v", from, meta.Kind, err)
		}
	}
	return objects
}

// render renders the DaemonSet's directories.
func render(t *testing.T, dir string) deployment {
	t.Helper()
	objects := renderObjects(t, dir)
	if kinds := fmt.Sprint(slices.Sorted(maps.Keys(objects))); kinds != "[ConfigMap DaemonSet Namespace ServiceAccount]" {
		t.Fatalf("%s: objects %v", dir, kinds)
	}
	return deployment{objects["DaemonSet"].(*appsv1.DaemonSet), objects["ConfigMap"].(*corev1.ConfigMap).Data}
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
				d.checkMemory(t)
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

// checkMemory: the gateway may hold what its configuration says, and what its process takes besides: as much again as Go's
// limit leaves for that, of what Go does not count.
func (d deployment) checkMemory(t *testing.T) {
	t.Helper()
	c, err := config.Parse("config.toml", []byte(d.config["config.toml"]))
	must(t, err)
	g := d.container(t, "gateway")
	if limit, want := g.Resources.Limits.Memory().Value(), int64(c.Gateway.MaxMemory)+2*gateway.MemoryBeside; limit < want {
		t.Errorf("the gateway's memory is limited to %d bytes, its configuration needs %d", limit, want)
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
