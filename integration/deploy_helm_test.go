//go:build linux

package integration

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const helmChart = "../deploy/helm/nested"

// helmVariant is one that kustomize and the chart both have.
type helmVariant struct {
	namespace, of, component string // below deploy/kubernetes; the component is a path, too
	configMap                string
	set                      []string
}

// helmVariants are base and every overlay, each with every component, the directories that uninstall, and serve with its
// components.
func helmVariants() map[string]helmVariant {
	all := map[string]helmVariant{
		"base": {namespace: "nested-system", of: "base", configMap: "nested-config"},
	}
	for overlay := range certsDirs {
		set := []string{"gateway.overlay=" + overlay}
		all["uninstall "+overlay] = helmVariant{"nested-system", "uninstall/" + overlay, "", "nested-config", append(slices.Clone(set), "gateway.uninstall=true")}
		for _, component := range []string{"", "docker-secret", "host-helpers"} {
			all["overlay "+overlay+" "+component] = helmVariant{"nested-system", "overlays/" + overlay, below("components", component), "nested-config",
				append(slices.Clone(set), "gateway.component="+component)}
		}
	}
	for _, component := range []string{"", "ingress", "ingress-passthrough", "load-balancer"} {
		all["serve "+component] = helmVariant{"nested-serve", "serve", below("serve/components", component), "nested-serve",
			[]string{"gateway.enabled=false", "serve.enabled=true", "serve.component=" + component}}
	}
	return all
}

func below(dir, component string) string {
	if component == "" {
		return ""
	}
	return filepath.Join(dir, component)
}

// section is that of the variant in values.yaml.
func (v helmVariant) section() string {
	if v.namespace == "nested-serve" {
		return "serve"
	}
	return "gateway"
}

// kustomize renders a user's own directory: the variant with a configuration, or with the project's where there is none.
func (v helmVariant) kustomize(t *testing.T, configuration string) map[string]any {
	t.Helper()
	dir, err := filepath.EvalSymlinks(tempDir(t)) // as kustomize does
	must(t, err)
	must(t, os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS("../deploy/kubernetes")))
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + v.namespace + "\nresources: [../deploy/" + v.of + "]\n" +
		"images:\n- {name: nested, newName: registry.example.com/tools/nested, newTag: v1}\n"
	if v.component != "" {
		text += "components: [../deploy/" + v.component + "]\n"
	}
	if configuration != "" {
		text += "configMapGenerator:\n- {name: " + v.configMap + ", behavior: merge, files: [config.toml]}\n"
		writeFile(t, filepath.Join(dir, "own/config.toml"), configuration)
	}
	writeFile(t, filepath.Join(dir, "own/kustomization.yaml"), text)
	return renderObjects(t, filepath.Join(dir, "own"))
}

// helm renders the variant with the chart.
func (v helmVariant) helm(t *testing.T, configuration string) map[string]any {
	t.Helper()
	args := []string{"-namespace", v.namespace, "-set", "namespace.create=true", "-set", "image.repository=registry.example.com/tools/nested", "-set", "image.tag=v1"}
	for _, value := range v.set {
		args = append(args, "-set", value)
	}
	if configuration != "" {
		args = append(args, "-set-file", v.section()+".config="+writeFile(t, filepath.Join(t.TempDir(), "config.toml"), configuration))
	}
	return decodeObjects(t, "chart", helm(t, append(args, "template", helmChart)...))
}

// helm runs Helm's packages (integration/helm).
func helm(t *testing.T, args ...string) string {
	t.Helper()
	return runCommand(t, exec.CommandContext(t.Context(), "helmcharts", args...))
}

// TestHelmRendersAsKustomize: base, every overlay, every component and what uninstalls are the same objects from both, with the
// project's configuration and with a user's. Only Helm has to be told not to delete what pods of a former revision need.
func TestHelmRendersAsKustomize(t *testing.T) {
	needs(t, "helmcharts")
	const own = "# <é> & \"quotes\", 'single' and {{ braces }}\n[gateway]\nmode = \"pod\"\nregistries = [\"registry.example.com\"]" // without a newline
	for name, variant := range helmVariants() {
		t.Run(name, func(t *testing.T) {
			for _, configuration := range []string{"", own} {
				got, want := variant.helm(t, configuration), variant.kustomize(t, configuration)
				config := got["ConfigMap"].(*corev1.ConfigMap)
				if !maps.Equal(config.Annotations, map[string]string{"helm.sh/resource-policy": "keep"}) {
					t.Errorf("annotations of the ConfigMap: %v", config.Annotations)
				}
				config.Annotations = nil
				wantSameObjects(t, got, want)
			}
		})
	}
}

func wantSameObjects(t *testing.T, got, want map[string]any) {
	t.Helper()
	if kinds := slices.Sorted(maps.Keys(got)); !slices.Equal(kinds, slices.Sorted(maps.Keys(want))) {
		t.Errorf("helm makes %v, kustomize %v", kinds, slices.Sorted(maps.Keys(want)))
	}
	dir := t.TempDir()
	for kind, object := range want {
		if got[kind] == nil {
			continue
		}
		kustomize, helm := writeObject(t, dir, "kustomize", object), writeObject(t, dir, "helm", got[kind])
		if out, err := exec.CommandContext(t.Context(), "diff", "-u", kustomize, helm).CombinedOutput(); err != nil {
			t.Errorf("%s differs: %v\n%s", kind, err, out)
		}
	}
}

// writeObject writes an object with its volumes and mounts in the order of their names and paths: Kubernetes keys them so.
func writeObject(t *testing.T, dir, name string, object any) string {
	t.Helper()
	if d, ok := object.(*appsv1.DaemonSet); ok {
		pod := &d.Spec.Template.Spec
		slices.SortFunc(pod.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			slices.SortFunc(c.VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
		}
	}
	text, err := yaml.Marshal(object)
	must(t, err)
	return writeFile(t, filepath.Join(dir, name), string(text))
}

// TestHelmValues: a value that there is not, or that cannot be, is an error that names it; and those that kustomize has no
// variant for arrive where they belong.
func TestHelmValues(t *testing.T) {
	needs(t, "helmcharts")
	for _, value := range []string{"gateway.overlays=k3s", "gateway.overlay=k8s", "gateway.component=ingress", "serve.component=docker-secret",
		"gateway.password=secret", "image.digest=sha256:12", "serve.minReplicas=1", "gateway.metricsPort=70000", "gateway.enabled=maybe"} {
		out, err := exec.CommandContext(t.Context(), "helmcharts", "-set", value, "template", helmChart).CombinedOutput()
		key, _, _ := strings.Cut(value, "=")
		if err == nil || !strings.Contains(string(out), key[strings.LastIndex(key, ".")+1:]) {
			t.Errorf("%s: %v, %s", value, err, out)
		}
	}
	digest := "sha256:" + strings.Repeat("ab", 32)
	for value, want := range map[string]string{
		"image.digest=" + digest:                        "image: ghcr.io/nestedoci/nested@" + digest,
		"imagePullSecrets[0].name=own":                  "- name: own",
		"gateway.metricsPort=7119":                      "port: 7119",
		"gateway.resources.limits.memory=1Gi":           "memory: 1Gi",
		"gateway.nodeSelector.pool=own":                 "pool: own",
		"serve.ingress.host=own.example.com":            `host: "own.example.com"`,
		"serve.maxReplicas=30":                          "maxReplicas: 30",
		"serve.networkPolicy.egress[0].ports[0].port=5": "- port: 5",
		"serve.service.annotations.own=x":               "own: x",
		"serve.goMemoryLimit=2GiB":                      `value: "2GiB"`,
		"serve.extraVolumeMounts[0].name=ca":            "- name: ca",
		"serve.tolerations[0].operator=Exists":          "- operator: Exists",
	} {
		out := helm(t, "-set", "serve.enabled=true", "-set", "serve.component=ingress", "-set", value, "template", helmChart)
		if !strings.Contains(out, want) {
			t.Errorf("%s: there is no %q", value, want)
		}
	}
	if out := helm(t, "template", helmChart); strings.Contains(out, "kind: Namespace") || strings.Contains(out, "kind: Secret") {
		t.Error("a namespace, which Helm would refuse, or a secret")
	}
}

// TestHelmTexts: a text stays one that looks like a number or like more YAML, and a large number is not written with an exponent.
func TestHelmTexts(t *testing.T) {
	needs(t, "helmcharts")
	values := writeFile(t, filepath.Join(t.TempDir(), "values.yaml"), `{"gateway": {"priorityClassName": "own\n      hostPID: true", "terminationGracePeriodSeconds": 2000000},
		"serve": {"enabled": true, "component": "ingress", "goMemoryLimit": "734003200", "terminationGracePeriodSeconds": 3000000,
			"ingress": {"className": "1e3", "tlsSecretName": "2e3"}}}`)
	out := helm(t, "-namespace", "123", "-values", values, "template", helmChart)
	for _, want := range []string{`namespace: "123"`, `priorityClassName: "own\n      hostPID: true"`, "terminationGracePeriodSeconds: 2000000\n",
		`{name: GOMEMLIMIT, value: "734003200"}`, "terminationGracePeriodSeconds: 3000000\n", `ingressClassName: "1e3"`, `secretName: "2e3"`} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
}

// TestHelmNotes: what is to be done next, and what before the release is removed.
func TestHelmNotes(t *testing.T) {
	needs(t, "helmcharts")
	for set, words := range map[string][]string{
		"gateway.enabled=true":            {"daemonset/nested-gateway", "gateway.uninstall=true", "no registry of yours"},
		"gateway.config=x":                {"daemonset/nested-gateway"},
		"gateway.uninstall=true":          {"helm -n default uninstall nested"},
		"gateway.component=docker-secret": {"nested-docker"},
		"serve.enabled=true":              {"deployment/nested-serve", "nested-serve-seal"},
	} {
		out := helm(t, "-set", set, "notes", helmChart)
		for _, word := range words {
			if !strings.Contains(out, word) {
				t.Errorf("%s: there is no %q in\n%s", set, word, out)
			}
		}
	}
}

// TestHelmDocuments: the values that documents set are the chart's.
func TestHelmDocuments(t *testing.T) {
	needs(t, "helmcharts")
	config := writeFile(t, filepath.Join(t.TempDir(), "config.toml"), "")
	for _, document := range []string{"../deploy/helm/nested/README.md", "../docs/kubernetes.md"} {
		var args []string
		for _, match := range regexp.MustCompile(`--(set|set-file) ([a-z]\S+=[^`+"`"+`\s]+)`).FindAllStringSubmatch(readText(t, document), -1) {
			args = append(args, "-"+match[1], strings.Replace(match[2], "=config.toml", "="+config, 1))
		}
		if len(args) < 8 {
			t.Errorf("%s sets %q", document, args)
		}
		helm(t, append(args, "template", helmChart)...)
	}
}

// TestReleaseChart: helm finds no fault with the chart; two runs of make release-chart make the same bytes; helm pulls what nestctl
// pushed, and renders the same from a directory, the .tgz and the registry.
func TestReleaseChart(t *testing.T) {
	needs(t, "helmcharts", "make", "nestctl", "registry", "oras")
	helm(t, "lint", helmChart)
	dist, again := t.TempDir(), t.TempDir()
	for _, dir := range []string{dist, again} {
		makeRelease(t, dir, nil, "release-chart")
	}
	files, err := os.ReadDir(dist)
	must(t, err)
	for _, file := range files {
		if readText(t, filepath.Join(dist, file.Name())) != readText(t, filepath.Join(again, file.Name())) {
			t.Errorf("%s differs in a second run", file.Name())
		}
	}

	reg := startRegistry(t, nil)
	ref := reg.ref("charts/nested", "0.1.0")
	newNestctl(t, t.TempDir()).run(t, "copy", "--plain-http", "oci-archive:"+filepath.Join(dist, "nested-chart-v0.1.0.oci.tar"), ref)
	tools := newOtherTools(t, reg)
	tools.oras(t, "pull", "--plain-http", "--output", tools.dir, ref)
	if readText(t, filepath.Join(tools.dir, "nested-0.1.0.tgz")) != readText(t, filepath.Join(dist, "nested-0.1.0.tgz")) {
		t.Error("oras pulls another chart")
	}

	want := helm(t, "-set", "image.tag=v0.1.0", "template", helmChart)
	for _, from := range []string{filepath.Join(dist, "nested-0.1.0.tgz"), "oci://" + ref} {
		if got := helm(t, "template", from); got != want {
			t.Errorf("%s renders to\n%s", from, got)
		}
	}
}
