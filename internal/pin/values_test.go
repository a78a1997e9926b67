package pin

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/clienttest"
)

// chart is a bundle with copies of what the values below name.
func chart(t *testing.T) Bundle {
	return copiesOf(t, map[string]string{
		"nginx=nginx":        "docker.io/library/nginx:1.27",
		"nginx2=nginx2":      "docker.io/library/nginx:1.28",
		"postgresql=pg":      "docker.io/bitnami/postgresql:17.2.0",
		"controller=ingress": "registry.k8s.io/ingress-nginx/controller:v1.12.0",
		"acme=acme":          "quay.io/jetstack/cert-manager-controller:v1.16.0",
		"operator=operator":  "quay.io/prometheus-operator/prometheus-operator:v0.79.0",
		"argocd=argo":        "quay.io/argoproj/argocd:v2.13.0",
		"hub/gpu=gpu":        "nvcr.io/nvidia/gpu-operator:v24.9.0",
	})
}

// expand replaces, in values, ‹name› by the copy's repository, ‹name/› by that without
// its registry, @name by the digest and #name by its
// hex.
func expand(text string) string {
	content := map[string]string{"nginx": "nginx", "nginx2": "nginx2", "postgresql": "pg", "controller": "ingress", "acme": "acme", "operator": "operator", "argocd": "argo", "hub/gpu": "gpu"}
	text = regexp.MustCompile(`[@#]\w+`).ReplaceAllStringFunc(text, func(s string) string {
		if content[s[1:]] == "" {
			return s
		}
		d := digest.FromString(content[s[1:]])
		if s[0] == '#' {
			return d.Encoded()
		}
		return d.String()
	})
	text = strings.ReplaceAll(text, "‹/", "prod/app/")
	text = strings.ReplaceAll(text, "‹", "r.example.com/prod/app/")
	return strings.ReplaceAll(text, "›", "")
}

// pinned is the text with what stands before → in «…→…» replaced by what stands
// behind it; before is the text as it was.
func pinned(text string) (before, after string) {
	edit := regexp.MustCompile(`(?s)«(.*?)→(.*?)»`)
	return edit.ReplaceAllString(text, "$1"), expand(edit.ReplaceAllString(text, "$2"))
}

func rewritten(t *testing.T, p *Pinner, text string) (string, error) {
	v, err := parseValues("values.yaml", []byte(text))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = v.Write(&out, p)
	return out.String(), err
}

// Small values of the shapes of charts that many use; the text is ours.
func TestValuesOfCharts(t *testing.T) {
	p := NewPinner([]Bundle{chart(t)}, false)
	for name, text := range map[string]string{
		"bitnami": `global:
  imageRegistry: ""  # for all
  storageClass: ""
image:
  registry: «docker.io→r.example.com»
  repository: «bitnami/postgresql→‹/postgresql»
  tag: 17.2.0   # of the chart
  digest: ""«→@postgresql»
  pullPolicy: IfNotPresent
metrics:
  image: {registry: docker.io, repository: bitnami/exporter, tag: 1.0.0}
`,
		"ingress-nginx": `controller:
  name: controller
  image:
    ## the host is a key of its own
    chroot: false
    registry: «registry.k8s.io→r.example.com»
    image: «ingress-nginx/controller→‹/controller»
    # repository:
    tag: "v1.12.0"
    digest: «→@controller»
    pullPolicy: IfNotPresent
  containerPort: {http: 80}
`,
		"cert-manager": `image:
  # registry: quay.io
  repository: «quay.io/jetstack/cert-manager-controller→‹acme›
  digest: @acme»

  # tag: v0
  pullPolicy: IfNotPresent
webhook:
  image: {repository: quay.io/jetstack/cert-manager-webhook}
`,
		"kube-prometheus-stack": `prometheusOperator:
  image:
    registry: «quay.io→r.example.com»
    repository: «prometheus-operator/prometheus-operator→‹/operator»
    tag: ""
    sha: ""«→#operator»
grafana: {image: {registry: docker.io, repository: grafana/grafana, sha: }}
`,
		"argo-cd": `global:
  image:
    # -- where from
    repository: «quay.io/argoproj/argocd→‹argocd›
    digest: @argocd»
    tag: ""
server:
  image:
    repository: "" # of global
    tag: ""
configs:
  repositories:
    a: {url: https://github.com/argoproj/argocd, name: argocd}
`,
	} {
		before, after := pinned(text)
		switch name { // where the digest is within quotes, or null
		case "bitnami":
			after = strings.Replace(after, `digest: ""`, `digest: "`, 1)
			after = strings.Replace(after, digest.FromString("pg").String(), digest.FromString("pg").String()+`"`, 1)
		case "kube-prometheus-stack":
			after = strings.Replace(after, `sha: ""`, `sha: "`, 1)
			after = strings.Replace(after, digest.FromString("operator").Encoded(), digest.FromString("operator").Encoded()+`"`, 1)
		}
		before = strings.Replace(before, "digest: \n", "digest:\n", 1)
		if got, err := rewritten(t, p, before); err != nil || got != after {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, after)
		}
	}
}

func TestValuesAreReplacedAndNothingElse(t *testing.T) {
	p := NewPinner([]Bundle{chart(t)}, false)
	for name, text := range map[string]string{
		"empty":                         "",
		"comments only":                 "# image: nginx:1.27\n",
		"nothing of ours":               "image: {repository: other, tag: v1}\nb: [repository, {repository: [nginx]}]\nc: {repository: 7}\n",
		"no images":                     "repository: https://charts.example.com\ngit: {repository: 'git@example.com:a/b.git', tag: v1}\n",
		"a string":                      "image: «nginx:1.27→‹nginx›@@nginx»\ninitImage: '«nginx:1.28→‹nginx2›@@nginx2»' # c\n",
		"a pod":                         "sidecars:\n- name: web\n  image: «nginx:1.27→‹nginx›@@nginx»\n",
		"a list":                        "images:\n  - repository: «nginx→‹nginx›\n    digest: @nginx»\n    tag: 1.27\n  - {repository: «nginx→‹nginx2›, digest: @nginx2», tag: '1.28'}\n",
		"without an end of line":        "image:\n  tag: 1.27\n  repository: «nginx→‹nginx›\n  digest: @nginx»",
		"line ends of Windows":          "image:\r\n  repository: «nginx→‹nginx›» # c«→\r\n  digest: @nginx»\r\n  tag: 1.27\r\n",
		"the digest first":              "image:\n  digest: ~\n  repository: nginx\n  tag: 1.27\n",
		"a digest in JSON":              "{\"image\": {\"repository\": \"«nginx→‹nginx›»\"«→, \"digest\": \"@nginx\"», \"tag\": \"1.27\"}}\n",
		"quoted":                        "image:\n  repository: '«nginx→‹nginx›»'«→\n  digest: @nginx»\n  'tag': \"1.27\"\n",
		"by name":                       "image:\n  name: «nginx→‹nginx›\n  digest: @nginx»\n  tag: 1.27\n",
		"in two parts":                  "operator:\n  repository: «nvcr.io/nvidia→‹hub›»\n  image: «gpu-operator→gpu\n  digest: sha256:GPU»\n  version: v24.9.0\n",
		"a registry that is null":       "image:\n  registry:«→ r.example.com»\n  repository: «nginx→‹/nginx›\n  digest: @nginx»\n  tag: 1.27\n",
		"a registry with a path":        "image:\n  registry: «quay.io/argoproj→r.example.com»\n  repository: «argocd→‹/argocd›\n  digest: @argocd»\n  tag: v2.13.0\n",
		"an empty registry":             "image:\n  registry: '«→r.example.com»'\n  repository: «nginx→‹/nginx›\n  digest: @nginx»\n  tag: 1.27\n",
		"pinned in the tag":             "image:\n  repository: «nginx→‹nginx›»\n  tag: 1.27@NGINX\n",
		"pinned already":                "image:\n  repository: «nginx→‹nginx›»\n  tag: 1.27\n  digest: NGINX\n",
		"another digest":                "image:\n  repository: nginx\n  tag: 1.27\n  digest: sha256:" + strings.Repeat("0", 64) + "\n",
		"our own":                       "image:\n  registry: r.example.com\n  repository: prod/app/nginx«→\n  digest: @nginx»\n  tag: whatever\n",
		"a tag of the chart":            "image:\n  repository: «quay.io/argoproj/argocd→‹argocd›\n  digest: @argocd»\n  tag: '{{ .Chart.AppVersion }}'\n",
		"an anchored map":               "image: &i\n  repository: «nginx→‹nginx›\n  digest: @nginx»\n  tag: 1.27\nother: *i\nthird: {<<: *i, pullPolicy: Always}\n",
		"an aliased value":              "x: &r nginx\nimage:\n  repository: «*r→‹nginx›\n  digest: @nginx»\n  tag: 1.27\nname: *r\n",
		"global for all":                "global: {imageRegistry: r.example.com}\nimage:\n  registry: «docker.io→r.example.com»\n  repository: «library/nginx→‹/nginx›\n  digest: @nginx»\n  tag: 1.27\n",
		"anchors before":                "image: !!map &i # c\n  repository: &r !!str «nginx→‹nginx›» # d«→\n  digest: @nginx»\n  tag: &t 1.27\n",
		"an image volume":               "volumes:\n- image:\n    reference: «nginx:1.27→‹nginx›@@nginx»\n",
		"wide characters":               "ä: '日本'\n😀: {é: é, image: {repository: «nginx→‹nginx›, digest: @nginx», tag: 1.27}}\n",
		"a repository and a tag in one": "image:\n  repository: «nginx:1.27→‹nginx›\n  digest: @nginx»\n",
	} {
		before, after := pinned(text)
		for _, s := range []*string{&before, &after} {
			*s = strings.ReplaceAll(*s, "NGINX", digest.FromString("nginx").String())
			*s = strings.ReplaceAll(*s, "sha256:GPU", digest.FromString("gpu").String())
		}
		if name == "the digest first" {
			after = expand("image:\n  digest: @nginx\n  repository: ‹nginx›\n  tag: 1.27\n")
		}
		if got, err := rewritten(t, p, before); err != nil || got != after {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, after)
		}
	}
}

func TestValuesThatCannotBePinned(t *testing.T) {
	p := NewPinner([]Bundle{chart(t), {Ref: "x", Repository: clienttest.Repository(t, "r.example.com/other")}}, false)
	for text, want := range map[string]string{
		"a: b\nimage:\n  repository: nginx\n  tag: 1.26\n":                    "values.yaml:3: image nginx:1.26: r.example.com/prod/app:v1 has other copies from there: nginx (docker.io/library/nginx:1.27), nginx2 (docker.io/library/nginx:1.28)",
		"image: {repository: nginx}\n":                                        "values.yaml:1: image nginx: no tag is there to choose one of nginx (docker.io/library/nginx:1.27), nginx2 (docker.io/library/nginx:1.28); write it there",
		"image: nginx\n":                                                      "values.yaml:1: image nginx: r.example.com/prod/app:v1 has other copies",
		"image: {registry: r.example.com, repository: prod/app/web, tag: v1}": "not a member of r.example.com/prod/app:v1",
		"image: {repository: 'r.example.com/prod/app/{{ x }}'}":               "invalid reference format",
		"global: {imageRegistry: m.example.com}\nimage: {registry: docker.io, repository: library/nginx, tag: 1.27}": "values.yaml:2: image docker.io/library/nginx:1.27: global.imageRegistry, m.example.com, would replace the registry of its copy; remove it, or set it to r.example.com",
		"a: &a {repository: nginx, tag: 1.27}\nb: {<<: *a, tag: 1.28}":                                               "values.yaml:2: image nginx:1.28: some of its keys are merged (<<) from another image; write them all here",
		"a: &a {repository: nginx, tag: 1.27}\nb: {<<: [*a], tag: 1.0}":                                              "values.yaml:2: image nginx:1.0: ",
		"a: {repository: &r nginx, tag: 1.27}\nb: {repository: *r, tag: x}":                                          "values.yaml:2: image nginx:x: ",
		"a: {repository: &r nginx, tag: 1.27}\nb: *r":                                                                "values.yaml:2: *r would change with the value of an image; write the value here",
		"image:\n  repository: |\n    nginx\n  tag: 1.27":                                                            "values.yaml:2: not a plain or quoted string",
		"image: {repository: nginx, digest, tag: 1.27}":                                                              "values.yaml:1: not a plain or quoted string",
		"image: {repository: nginx, tag: 1.27, repository: x}":                                                       "the key repository is there twice",
		"a: b\n---\nc: d":            "values.yaml:2: a second document; Helm reads one",
		"image: {{ .Values.image }}": "templates, {{ }}, must be rendered first",
		"\xff":                       "not UTF-8",
		"a: *b":                      "unknown anchor",
	} {
		if got, err := rewritten(t, p, text); err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%q: %v, want %s; written: %s", text, err, want, got)
		}
	}
}

// Helm reads a tag without quotes as YAML says, and what a chart then makes of
// it may be another image.
func TestValuesWithTagsThatAreNumbers(t *testing.T) {
	p := NewPinner([]Bundle{copiesOf(t, map[string]string{
		"a=a": "quay.io/me/web:1.10", "b=b": "quay.io/me/web:1.1", "c=c": "quay.io/me/hex:0x10", "d=d": "quay.io/me/on:on", "e=e": "quay.io/me/date:2026-11-30", "f=f": "quay.io/me/day:20261130",
	})}, false)
	for tag, want := range map[string]string{
		"web, tag: 1.10":              "values.yaml:1: image quay.io/me/web:1.10: tag: 1.10 without quotes is 1.1 for Helm; write it in quotes",
		"web, tag: &t 1.10":           "tag: 1.10 without quotes is 1.1 for Helm",
		"hex, imageTag: 0x10":         "imageTag: 0x10 without quotes is 16 for Helm",
		"on, tag: on":                 "tag: on without quotes is true for Helm",
		"web, tag: 1.1":               "",
		"web, tag: '1.10'":            "",
		"web, tag: !!str 1.10":        "",
		"on, tag: 'on'":               "",
		"date, tag: 2026-11-30":       "",
		"day, tag: 20261130":          "",
		"other, tag: 1.10":            "",
		"web, tag: '', imageTag: 1.1": "",
	} {
		_, err := rewritten(t, p, "image: {repository: quay.io/me/"+tag+"}\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", tag, err, want)
		}
	}
}

// Aliases in aliases are not followed, however much they would become.
func TestValuesWithABomb(t *testing.T) {
	p := NewPinner([]Bundle{chart(t)}, false)
	lists, merges := "a0: &a0 [x]\n", "a0: &a0 {repository: nginx, tag: 1.27}\n"
	for i := range 40 {
		a, b := fmt.Sprint("a", i), fmt.Sprint("a", i+1)
		lists += b + ": &" + b + " [" + strings.Repeat("*"+a+",", 30) + "]\n"
		merges += b + ": &" + b + " {<<: [" + strings.Repeat("*"+a+",", 30) + "], tag: 1.27}\n"
	}
	if got, err := rewritten(t, p, lists); err != nil || got != lists {
		t.Errorf("lists: %v", err)
	}
	if _, err := rewritten(t, p, merges); err == nil || !strings.Contains(err.Error(), "are merged (<<)") {
		t.Errorf("merges: %v", err)
	}
}

// What is written says the same but for images, and stays as it is when it is pinned
// again. That images say what they should is verified by Write itself.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{
		"global: {imageRegistry: }\nimage:\n  registry: docker.io # c\n  repository: library/nginx\n  tag: 1.27\n  digest: ''\n",
		"a: &a {repository: nginx, tag: \"1.27\", sha: }\nb: *a\nc: {<<: *a, x: y}\ninitImage: nginx:1.28\n",
		"image:\r\n- name: quay.io/argoproj/argocd\r\n  ? tag\r\n  : ~\r\nx: &r nginx\r\ni: {\"repository\": *r, \"tag\": 1.28}",
		"{\"image\": {\"image\": \"ingress-nginx/controller\", \"registry\": \"registry.k8s.io\", \"tag\": \"v1.12.0\"}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parseValues("f", text)
		if err != nil {
			return
		}
		before := rest(&v.document)
		p := NewPinner([]Bundle{chart(t)}, true)
		var first, second bytes.Buffer
		if err = v.Write(&first, p); err != nil {
			return
		}
		again, err := parseValues("f", first.Bytes())
		if err != nil {
			t.Fatalf("%q becomes %q: %v", text, first.Bytes(), err)
		}
		after := rest(&again.document)
		if err = again.Write(&second, p); err != nil || second.String() != first.String() {
			t.Fatalf("%q becomes %q, and then %q: %v", text, first.Bytes(), second.Bytes(), err)
		}
		if !slices.Equal(before, after) {
			t.Fatalf("%q becomes %q:\n%q\n%q", text, first.Bytes(), before, after)
		}
	})
}

// rest is what values consist of beside images.
func rest(n *yaml.Node) []string {
	pieces := []string{fmt.Sprint(n.Kind, n.Tag, n.Value, n.Anchor)}
	for i, child := range n.Content {
		key := ""
		if n.Kind == yaml.MappingNode {
			key = resolved(n.Content[i-i%2]).Value
		}
		switch image := slices.Contains(allKeys, key) || named(key) || key == "reference"; {
		case key == digestKey:
		case image && i%2 == 1 && resolved(child).Kind == yaml.ScalarNode:
			pieces = append(pieces, child.Anchor)
		default:
			pieces = append(pieces, rest(child)...)
		}
	}
	return append(pieces, "end")
}
