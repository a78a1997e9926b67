//go:build linux

package integration

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
)

// frontDeployment is what deploy/kubernetes/serve renders to.
type frontDeployment struct {
	deployment *appsv1.Deployment
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	disruption *policyv1.PodDisruptionBudget
	network    *networkingv1.NetworkPolicy
	service    *corev1.Service
	namespace  *corev1.Namespace
	ingress    *networkingv1.Ingress // nil without the component
	text       string                // config.toml
	config     *config.Config
}

func renderFront(t *testing.T, dir string) frontDeployment {
	t.Helper()
	o := renderObjects(t, dir)
	d := frontDeployment{
		deployment: o["Deployment"].(*appsv1.Deployment),
		autoscaler: o["HorizontalPodAutoscaler"].(*autoscalingv2.HorizontalPodAutoscaler),
		disruption: o["PodDisruptionBudget"].(*policyv1.PodDisruptionBudget),
		network:    o["NetworkPolicy"].(*networkingv1.NetworkPolicy),
		service:    o["Service"].(*corev1.Service),
		namespace:  o["Namespace"].(*corev1.Namespace),
		text:       o["ConfigMap"].(*corev1.ConfigMap).Data["config.toml"],
	}
	d.ingress, _ = o["Ingress"].(*networkingv1.Ingress)
	var err error
	d.config, err = config.Parse("config.toml", []byte(d.text))
	must(t, err)
	want := 8
	if d.ingress != nil {
		want++
	}
	if len(o) != want || d.namespace.Name != d.deployment.Namespace {
		t.Errorf("%s: objects %q", dir, slices.Sorted(maps.Keys(o)))
	}
	return d
}

func (d frontDeployment) pod() corev1.PodSpec         { return d.deployment.Spec.Template.Spec }
func (d frontDeployment) container() corev1.Container { return d.pod().Containers[0] }

// TestDeployServeObjects: what deploy/kubernetes/serve and its components render to are objects of Kubernetes that fit
// together, with settings that keep the front in its place.
func TestDeployServeObjects(t *testing.T) {
	dirs := map[string]string{"": "../deploy/kubernetes/serve"}
	for _, component := range []string{"ingress", "ingress-passthrough", "load-balancer"} {
		dirs[component] = overlayOfServe(t, component)
	}
	for name, dir := range dirs {
		t.Run(name, func(t *testing.T) {
			d := renderFront(t, dir)
			d.checkPod(t)
			d.checkContainer(t)
			d.checkSecrets(t)
			d.checkSelectors(t)
			d.checkReplicas(t)
			d.checkEnd(t)
			d.checkProbes(t)
			d.checkAddresses(t, name)
		})
	}
}

// overlayOfServe is a user's own directory, made by the commands of docs/kubernetes.md, with another component.
func overlayOfServe(t *testing.T, component string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(tempDir(t)) // as kustomize does
	must(t, err)
	must(t, os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS("../deploy")))
	script := strings.Replace(docScript(t, "kubernetes.md", "nestctl serve"), "/components/load-balancer", "/components/"+component, 1)
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", "kubectl() { :; }; openssl() { :; }\n"+script)
	cmd.Dir = dir
	runCommand(t, cmd)
	return filepath.Join(dir, "front")
}

// checkAll complains about what is not so.
func checkAll(t *testing.T, of string, all map[string]bool) {
	t.Helper()
	for what, ok := range all {
		if !ok {
			t.Errorf("%s: not so: %s", of, what)
		}
	}
}

func (d frontDeployment) checkPod(t *testing.T) {
	t.Helper()
	pod := d.pod()
	s := pod.SecurityContext
	checkAll(t, "pod", map[string]bool{
		"nothing of the host":             !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		"no token":                        pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"an account of its own":           pod.ServiceAccountName == "nested-serve",
		"no variables of services":        pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks,
		"seccomp":                         s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"not root":                        s.RunAsNonRoot != nil && *s.RunAsNonRoot && s.RunAsUser != nil && *s.RunAsUser > 0 && s.RunAsGroup != nil && *s.RunAsGroup > 0,
		"a group for the secrets":         s.FSGroup != nil && *s.FSGroup == *s.RunAsGroup,
		"nodes of Linux":                  pod.NodeSelector["kubernetes.io/os"] == "linux",
		"one container":                   len(pod.Containers) == 1 && pod.InitContainers == nil,
		"a namespace that allows no more": d.namespace.Labels["pod-security.kubernetes.io/enforce"] == "restricted",
		"over nodes and zones":            fmt.Sprint(topologies(pod)) == "[kubernetes.io/hostname topology.kubernetes.io/zone]",
	})
}

// topologies are those over which a pod is spread, although it also runs where that cannot be.
func topologies(pod corev1.PodSpec) (keys []string) {
	for _, c := range pod.TopologySpreadConstraints {
		if c.MaxSkew == 1 && c.WhenUnsatisfiable == corev1.ScheduleAnyway {
			keys = append(keys, c.TopologyKey)
		}
	}
	return keys
}

func (d frontDeployment) checkContainer(t *testing.T) {
	t.Helper()
	c := d.container()
	ports := c.Ports
	c.Ports = nil // of the pod, not of the host
	checkContainer(t, c)
	for _, p := range ports {
		if p.HostPort != 0 {
			t.Errorf("port %s is the host's", p.Name)
		}
	}
	s := d.config.Serve
	if limit, want := c.Resources.Limits.Memory().Value(), int64(s.MaxMemory)+2*gateway.MemoryBeside+int64(s.MaxConnections)*(200<<10); limit < want {
		t.Errorf("the front's memory is limited to %d bytes, its configuration needs %d", limit, want)
	}
	if !slices.Equal(c.Args, []string{"serve", "--config", "/config/config.toml"}) {
		t.Errorf("it runs %q", c.Args)
	}
}

// checkSecrets: the files that the configuration names are mounted, for the pod's user alone, and with what changes later.
func (d frontDeployment) checkSecrets(t *testing.T) {
	t.Helper()
	files := map[string]bool{}
	for _, m := range d.container().VolumeMounts {
		all := d.pod().Volumes
		v := all[slices.IndexFunc(all, func(v corev1.Volume) bool { return v.Name == m.Name })]
		if !m.ReadOnly || v.HostPath != nil {
			t.Errorf("%s can be written, or is the host's", m.Name)
		}
		if v.Secret == nil {
			continue
		}
		if v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o400 || m.SubPath != "" {
			t.Errorf("secret %s can be read by others, or does not change", v.Name)
		}
		for _, item := range v.Secret.Items {
			files[filepath.Join(m.MountPath, item.Path)] = true
		}
	}
	s := d.config.Serve
	for _, file := range append(slices.Clone(s.SealKeys), s.Certificate) {
		if !files[file] {
			t.Errorf("%s is in no secret: %v", file, files)
		}
	}
	if len(s.SealKeys) != 2 {
		t.Errorf("seal keys %q: a key cannot be exchanged without a second one", s.SealKeys)
	}
}

func (d frontDeployment) checkSelectors(t *testing.T) {
	t.Helper()
	labels := d.deployment.Spec.Template.Labels
	selectors := map[string]*metav1.LabelSelector{
		"Deployment":          d.deployment.Spec.Selector,
		"PodDisruptionBudget": d.disruption.Spec.Selector,
		"NetworkPolicy":       &d.network.Spec.PodSelector,
		"Service":             {MatchLabels: d.service.Spec.Selector},
	}
	for i, c := range d.pod().TopologySpreadConstraints {
		selectors[fmt.Sprint("topology ", i)] = c.LabelSelector
	}
	for of, selector := range selectors {
		if len(selector.MatchLabels) == 0 || selector.MatchExpressions != nil {
			t.Errorf("%s selects %v", of, selector)
		}
		for key, value := range selector.MatchLabels {
			if labels[key] != value {
				t.Errorf("%s selects %v, pods have %v", of, selector.MatchLabels, labels)
			}
		}
	}
	target := d.autoscaler.Spec.ScaleTargetRef
	if target.Kind != "Deployment" || target.APIVersion != "apps/v1" || target.Name != d.deployment.Name {
		t.Errorf("scaled is %+v", target)
	}
}

// checkReplicas: there are two or more, none of which an update or a drain takes before another one is there.
func (d frontDeployment) checkReplicas(t *testing.T) {
	t.Helper()
	a, update := d.autoscaler.Spec, d.deployment.Spec.Strategy.RollingUpdate
	checkAll(t, "replicas", map[string]bool{
		"two or more":                 a.MinReplicas != nil && *a.MinReplicas >= 2 && a.MaxReplicas > *a.MinReplicas,
		"the autoscaler's alone":      d.deployment.Spec.Replicas == nil,
		"by what they ask for":        a.Metrics[0].Resource.Name == corev1.ResourceCPU && a.Metrics[0].Resource.Target.Type == autoscalingv2.UtilizationMetricType,
		"an update adds one first":    *update.MaxUnavailable == intstr.FromInt32(0) && *update.MaxSurge == intstr.FromInt32(1),
		"a drain takes one at a time": *d.disruption.Spec.MaxUnavailable == intstr.FromInt32(1),
	})
}

// checkEnd: a pod that ends is first taken from the Service, and then killed after transfers had their time.
func (d frontDeployment) checkEnd(t *testing.T) {
	t.Helper()
	before := d.container().Lifecycle.PreStop.Sleep
	if before == nil || before.Seconds < 5 {
		t.Fatalf("before its end: %+v", d.container().Lifecycle.PreStop)
	}
	needed := time.Duration(before.Seconds)*time.Second + d.config.Serve.Grace
	if limit := time.Duration(*d.pod().TerminationGracePeriodSeconds) * time.Second; needed >= limit {
		t.Errorf("a pod may take %s to end, and is killed after %s", needed, limit)
	}
}

// checkProbes: probes ask where the configuration says that there are answers.
func (d frontDeployment) checkProbes(t *testing.T) {
	t.Helper()
	c := d.container()
	for name, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/readyz at the start": c.StartupProbe, "/healthz": c.LivenessProbe} {
		path, _, _ := strings.Cut(name, " ")
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || d.port(t, probe.HTTPGet.Port) != d.config.Serve.MetricsAddress {
			t.Errorf("%s: %+v", name, probe)
		}
	}
}

// port is an address that is listened on at a port of the container.
func (d frontDeployment) port(t *testing.T, p intstr.IntOrString) string {
	t.Helper()
	for _, own := range d.container().Ports {
		if own.Name == p.String() {
			return fmt.Sprint(":", own.ContainerPort)
		}
	}
	t.Errorf("no port %s", p.String())
	return ""
}

// checkAddresses: clients come to where the front listens, the certificate's names are those that are served, and what
// the cloud tells its nodes is out of reach.
func (d frontDeployment) checkAddresses(t *testing.T, component string) {
	t.Helper()
	s := d.service.Spec
	if len(s.Ports) != 1 || s.Ports[0].Port != 443 || d.port(t, s.Ports[0].TargetPort) != d.config.Serve.Listen {
		t.Errorf("ports %+v", s.Ports)
	}
	if balanced := s.Type == corev1.ServiceTypeLoadBalancer; balanced != (component == "load-balancer") ||
		balanced && s.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		t.Errorf("service %+v", s)
	}
	for _, rule := range d.network.Spec.Ingress {
		for _, p := range rule.Ports {
			if at := d.port(t, *p.Port); at != d.config.Serve.Listen && rule.From == nil {
				t.Errorf("everybody may ask %s", at)
			}
		}
	}
	for _, rule := range d.network.Spec.Egress {
		for _, to := range rule.To {
			if to.IPBlock.CIDR == "0.0.0.0/0" && !slices.Contains(to.IPBlock.Except, "169.254.0.0/16") {
				t.Errorf("it may ask %+v", to.IPBlock)
			}
		}
	}
	if (d.ingress != nil) != strings.HasPrefix(component, "ingress") {
		t.Errorf("ingress %v", d.ingress)
	}
	if d.ingress != nil {
		d.checkIngress(t, component == "ingress")
	}
}

// checkIngress: the controller neither limits nor keeps what passes, and hands it to the Service over TLS.
func (d frontDeployment) checkIngress(t *testing.T, ends bool) {
	t.Helper()
	name, _, _ := strings.Cut(d.config.Serve.Registries[0], "=")
	rule := d.ingress.Spec.Rules[0]
	backend := rule.HTTP.Paths[0].Backend.Service
	if rule.Host != name || backend.Name != d.service.Name || backend.Port.Name != d.service.Spec.Ports[0].Name {
		t.Errorf("rule %+v", rule)
	}
	want := map[string]string{"ssl-passthrough": "true"}
	if ends {
		want = map[string]string{"backend-protocol": "HTTPS", "proxy-body-size": "0", "proxy-request-buffering": "off", "proxy-buffering": "off"}
	}
	for key, value := range want {
		if got := d.ingress.Annotations["nginx.ingress.kubernetes.io/"+key]; got != value {
			t.Errorf("%s: %q", key, got)
		}
	}
	if tls := d.ingress.Spec.TLS; ends && (len(tls) != 1 || !slices.Equal(tls[0].Hosts, []string{name})) {
		t.Errorf("TLS %+v", tls)
	}
}

// TestDeployServeRuns: the Deployment's own command line, with its user, its mounts as the kubelet makes them, a read-only
// root and no capabilities, is a front that answers; a certificate that is exchanged in its secret is served soon.
func TestDeployServeRuns(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "unshare", "setpriv")
	a := publish(t, newApp(t))
	d := renderFront(t, "../deploy/kubernetes/serve")
	address, metrics := freeAddress(t), freeAddress(t)
	d.text = strings.NewReplacer(`":8443"`, fmt.Sprintf("%q", address), `":7118"`, fmt.Sprintf("%q", metrics), "registry.example.com", a.host).Replace(d.text)
	work := tempDir(t)
	seal := make([]byte, gateway.SealKeySize)
	_, _ = rand.Read(seal)
	first, second := newFrontCertificate(t, "bundles.example.com"), newFrontCertificate(t, "bundles.example.com")
	secrets := map[string]string{"key-1": base64.StdEncoding.EncodeToString(seal) + "\n", "key-2": base64.StdEncoding.EncodeToString(make([]byte, 32)), "tls-combined.pem": first.file}

	p := start(t, "unshare", d.command(t, work, secrets)[1:]...)
	p.await(t, func() bool { return answersPlainly(t, "http://"+metrics+"/readyz") })
	ask := func(c frontCertificate) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://bundles.example.com/v2/", http.NoBody)
		must(t, err)
		who := loginOf("org/app")
		req.SetBasicAuth(who.username, who.password)
		resp, err := c.client(t, address).Do(req)
		if err != nil {
			return 0
		}
		must(t, resp.Body.Close())
		return resp.StatusCode
	}
	if got := ask(first); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	secrets["tls-combined.pem"] = second.file
	d.secretFolder(t, filepath.Join(work, "tls"), d.volume("tls"), secrets)
	await(t, "the new certificate", 30*time.Second, func() bool { return ask(second) == http.StatusOK })
}

func (d frontDeployment) volume(name string) corev1.Volume {
	all := d.pod().Volumes
	return all[slices.IndexFunc(all, func(v corev1.Volume) bool { return v.Name == name })]
}

// command runs the container, with its mounts, as the kubelet and containerd make them.
func (d frontDeployment) command(t *testing.T, work string, secrets map[string]string) []string {
	t.Helper()
	c, s := d.container(), d.pod().SecurityContext
	root := filepath.Join(work, "root")
	script := containerScript(t, root)
	command := []string{"unshare", "--mount", "env", fmt.Sprintf("AS=%d:%d", *s.RunAsUser, *s.RunAsGroup), "sh", script, root}
	for _, m := range c.VolumeMounts {
		dir := filepath.Join(work, m.Name)
		if v := d.volume(m.Name); v.Secret != nil {
			d.secretFolder(t, dir, v, secrets)
		} else {
			atomically(t, dir, map[string]string{"config.toml": d.text}, 0o644)
		}
		command = append(command, "ro", filepath.Join(dir, m.SubPath), m.MountPath)
	}
	return append(append(command, "--", "/nestctl"), c.Args...)
}

// secretFolder lays a secret out as the kubelet does: in a tmpfs, where the sticky bit is set, with what its group, that
// of the pod's files, needs to read it. What was there is exchanged.
func (d frontDeployment) secretFolder(t *testing.T, dir string, v corev1.Volume, secrets map[string]string) {
	t.Helper()
	group := int(*d.pod().SecurityContext.FSGroup)
	if _, err := os.Stat(dir); err != nil {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	data := filepath.Join(dir, fmt.Sprint("..", time.Now().UnixNano()))
	must(t, os.Mkdir(data, 0o755))
	for _, item := range v.Secret.Items {
		file := filepath.Join(data, item.Path)
		must(t, os.WriteFile(file, []byte(secrets[item.Key]), 0o400))
		must(t, os.Chown(file, 0, group))
		must(t, os.Chmod(file, fs.FileMode(*v.Secret.DefaultMode)|0o040))
		_ = os.Symlink("..data/"+item.Path, filepath.Join(dir, item.Path)) // it may be there
	}
	must(t, os.Chown(data, 0, group))
	must(t, os.Chmod(data, 0o755|fs.ModeSetgid))
	must(t, os.Symlink(filepath.Base(data), filepath.Join(dir, "..new")))
	must(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
}
