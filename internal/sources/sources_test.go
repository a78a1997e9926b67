package sources_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/sources"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

var (
	dgst  = "sha256:" + strings.Repeat("0123456789abcdef", 4)
	other = "sha256:" + strings.Repeat("fedcba9876543210", 4)
)

// bakeFile is what buildx 0.30 writes for a bake of a few targets, shortened.
var bakeFile = `{
  "buildx.build.warnings": [{"vertex": "sha256:1"}],
  "web": {
    "buildx.build.provenance": {"buildType": "x", "materials": [{"uri": "pkg:docker/alpine"}]},
    "buildx.build.ref": "builder/builder0/x",
    "containerimage.config.digest": "` + other + `",
    "containerimage.digest": "` + dgst + `",
    "image.name": "docker.io/me/web:v1,registry.test:5000/org/app/web:v1,registry.test:5000/org/app/web:latest"
  },
  "checks": {"buildx.build.ref": "builder/builder0/y"},
  "db": {"containerimage.digest": "` + other + `", "image.name": "quay.io/me/db:v2"}
}
`

const composeFile = `name: shop
x-base: &base
  image: redis:7
  environment: {image: not/an/image:1}
services:
  web:
    image: "nginx:1.27"   # the front
    labels: {image: nor:this}
    volumes:
      - data:/data
      - {type: image, source: busybox, target: /x}
      - {type: bind, source: ./x, target: /y}
  cache:
    <<: *base
  built:
    build: .
  again:
    image: &again nginx:1.27
  alias:
    image: *again
`

const chart = `---
# Source: app/templates/a.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
        - image: busybox
      containers:
        - name: web
          image: "docker.io/library/nginx:1.27@` + "%s" + `"
        - image: ""
      volumes:
        - image: {reference: quay.io/me/data:1}
---
# Source: app/templates/empty.yaml
---
kind: Service
apiVersion: v1
`

func TestRead(t *testing.T) {
	web := "registry.test:5000/org/app/web@" + dgst + " (v1)"
	for name, test := range map[string]struct {
		text, format string
		want         []string
	}{
		"ko":                 {text: "registry.test/a/x@" + dgst + "\nregistry.test/a/y:v1@" + dgst + "\n", want: []string{"registry.test/a/x@" + dgst, "registry.test/a/y@" + dgst + " (v1)"}},
		"comments and names": {text: "\n# all\n web=nginx  # the front\n\nlibrary/redis:7", want: []string{"web=docker.io/library/nginx:latest", "docker.io/library/redis:7"}},
		"CRLF and BOM":       {text: "\ufeffnginx:1\r\n\r\n# x\r\nb:2\r\n", want: []string{"docker.io/library/nginx:1", "docker.io/library/b:2"}},
		"bake":               {text: bakeFile, want: []string{web, "quay.io/me/db@" + other + " (v2)"}},
		"build":              {text: `{"containerimage.digest":"` + dgst + `","image.name":"docker.io/me/web:v1"}`, want: []string{"docker.io/me/web@" + dgst + " (v1)"}},
		"compose":            {text: composeFile, want: []string{"docker.io/library/redis:7", "docker.io/library/nginx:1.27", "docker.io/library/busybox:latest"}},
		"merged services":    {text: "x-a: &a\n  one: {image: one}\nx-b: &b {image: two}\nx-c: &c {<<: *b, image: three}\nservices:\n  <<: *a\n  two: {<<: [*c, *b]}\n  three: {<<: *b}\n", want: []string{"docker.io/library/one:latest", "docker.io/library/two:latest", "docker.io/library/three:latest"}},
		"merges itself":      {text: "services: &s\n  <<: *s\n  a: &a {<<: *a, image: one}\n  b: &b {<<: *b}\n", want: []string{"docker.io/library/one:latest"}},
		"compose as JSON":    {text: "{\n\t\"name\": \"a\",\n\t\"services\": {\"w\": {\"image\": \"nginx\", \"volumes\": [\"a:/b\"]}}}", want: []string{"docker.io/library/nginx:latest"}},
		"chart":              {text: fmt.Sprintf(chart, dgst), want: []string{"docker.io/library/busybox:latest", "docker.io/library/nginx@" + dgst + " (1.27)", "quay.io/me/data:1"}},
		"kubernetes as JSON": {text: `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"a/b"}]}}{"kind":"Pod","apiVersion":"v1"}`, want: []string{"docker.io/a/b:latest"}},
		"quoted keys":        {text: "\"apiVersion\": v1\r\n'kind' : Pod\r\nimage: a/b\r\n", want: []string{"docker.io/a/b:latest"}},
		"told":               {text: "image: a/b\n", format: "kubernetes", want: []string{"docker.io/a/b:latest"}},
	} {
		t.Run(name, func(t *testing.T) {
			below, _ := auth.ParseRepository("registry.test:5000/org/app")
			found, err := sources.Read(t.Context(), strings.NewReader(test.text), nil, []string{"-"}, sources.Options{Format: test.format, Below: below})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range found {
				got = append(got, show(s))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}

// show is a source as text.
func show(s sources.Source) string {
	text := s.Reference.String()
	if s.Name != "" {
		text = s.Name + "=" + text
	}
	if s.Tag != "" {
		text += " (" + s.Tag + ")"
	}
	return text
}

// bomb is YAML whose aliases would make a billion services.
func bomb() string {
	var text strings.Builder
	text.WriteString("x-0: &a0 {image: a}\n")
	for i := range 10 {
		fmt.Fprintf(&text, "x-%d: &a%d {", i+1, i+1)
		for key := range 10 {
			fmt.Fprintf(&text, "k%d: *a%d, ", key, i)
		}
		text.WriteString("}\n")
	}
	text.WriteString("services: {web: *a10, volumes: [*a10], image: *a10}\n")
	return text.String()
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, format, want string }{
		"nothing":              {"", "", "standard input: no images in it"},
		"only comments":        {"# a\n\n", "", "standard input: no images in it"},
		"chart of nothing":     {"---\n# Source: a\n", "", "standard input: it is none of refs, bake, compose, kubernetes by its content"},
		"two words":            {"nginx\nnginx redis\n", "", "standard input:2: not one reference; write one a line"},
		"no reference":         {"nginx\n\nNginx:1\n", "", `standard input:3: reference "Nginx:1": `},
		"escapes":              {"a\x1b[31m\n", "", `standard input:1: reference "a\x1b[31m": `},
		"long":                 {strings.Repeat("a", 1<<20), "", "longer than"},
		"binary":               {"nginx\x00", "", "standard input: not a text in UTF-8"},
		"UTF-16":               {"\xff\xfen\x00", "", "standard input: not a text in UTF-8"},
		"gzip":                 {"\x1f\x8b\x08\x00", "", "standard input: not a text in UTF-8"},
		"page":                 {"<!doctype html>\n<p>no</p>", "", "it is none of refs, bake, compose, kubernetes by its content"},
		"Helm values":          {"image:\n  repository: nginx\n  tag: 1\n", "", "it is none of refs, bake"},
		"template":             {"{{- if .Values.x }}\nimage: a\n", "", "it has a template, {{, which must be rendered first"},
		"two things":           {"apiVersion: v1\nkind: Pod\nservices: {}\n", "", "it may be compose or kubernetes by its content"},
		"two things as JSON":   {`{"services":{},"web":{"image.name":"a"}}`, "", "it may be bake or compose by its content"},
		"two documents":        {"services: {}\n---\napiVersion: v1\nkind: Pod\n", "", "it may be compose or kubernetes by its content"},
		"one is not known":     {"apiVersion: v1\nkind: Pod\n---\na: b\n", "", "it is none of"},
		"list":                 {"- nginx\n- redis\n", "", "it is none of"},
		"list as JSON":         {`["nginx"]`, "", `standard input:1: reference "[\"nginx\"]": `},
		"half JSON":            {`{"web":`, "", "it is none of"},
		"format":               {"a", "helm", "--from-format"},
		"a key twice in bake":  {"{\n\"web\":{\"image.name\":\"a\"},\n\"web\":{}}", "", `the key "web" is there twice`},
		"twice in a target":    {"{\n\"web\":{\"image.name\":\"a\",\"image.name\":\"b\"}}", "bake", `standard input:2: target "web": the key "image.name" is there twice`},
		"twice in compose":     {"services:\n  a: {image: x}\n  a: {image: y}\n", "", `standard input:3: the key "a" is there twice`},
		"include":              {"include: [other.yaml]\nservices:\n  a: {image: x}\n", "", "standard input:1: images may be in other files, which are not read; name what docker compose config prints"},
		"extends another file": {"services:\n  a: {image: x}\n  b:\n    extends:\n      service: web\n      file: base.yaml\n", "", "standard input:6: images may be in other files"},
		"no digest":            {"{\n\n\"web\":{\"image.name\":\"registry.test/web\"}}", "", `standard input:3: target "web": containerimage.digest`},
		"short name in bake":   {`{"web":{"image.name":"web:1","containerimage.digest":"` + dgst + `"}}`, "", "not a name in full; write docker.io/library/web"},
		"not built":            {`{"web":{"buildx.build.ref":"x"}}`, "bake", "standard input: no images in it"},
		"bake that is none":    {"nginx", "bake", "standard input: not an object of JSON"},
		"variable":             {"services:\n  web:\n    image: nginx:${TAG}\n", "", "standard input:3: reference \"nginx:${TAG}\": invalid reference format; templates and variables must be filled in first"},
		"number":               {"services:\n  web:\n    image: 1.27\n", "", "standard input:3: an image that is not a string"},
		"template in a string": {"apiVersion: v1\nkind: Pod\nimage: \"{{ .x }}\"\n", "", "standard input:3: reference \"{{ .x }}\": "},
		"tabs":                 {"services:\n\tweb: x\n", "", "standard input: line 2: found character that cannot start any token"},
		"bomb":                 {bomb(), "compose", "standard input: "},
		"four million":         {strings.Repeat("a\n", 4<<20), "", "standard input: more than 10000 images"},
		"8 MiB and one byte":   {strings.Repeat("#\n", 4<<20) + "\n", "", "standard input: files of more than 8.0 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := sources.Read(t.Context(), strings.NewReader(test.text), nil, []string{"-"}, sources.Options{Format: test.format})
			if err == nil {
				t.Fatalf("read as %v", found)
			}
			text := err.Error()
			if about := (usage.Error{}); errors.As(err, &about) {
				text = "--" + about.Error()
			}
			if !strings.Contains(text, test.want) || strings.ContainsAny(text, "\x1b\n\x00") || len(text) > 1200 {
				t.Errorf("error %.1500q", text)
			}
		})
	}
}

func TestFilesAndDirectories(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("a.yaml", "apiVersion: v1\nkind: Pod\nimage: one\n")
	write("b.json", bakeFile)
	list := write("list", "two\nthree")
	found, err := sources.Read(t.Context(), strings.NewReader("four"), []string{"one=one"}, []string{list, dir, "-"}, sources.Options{})
	if err != nil || len(found) != 6 || show(found[0]) != "one=docker.io/library/one:latest" || show(found[5]) != "docker.io/library/four:latest" {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := sources.Read(t.Context(), nil, nil, []string{filepath.Join(dir, "none")}, sources.Options{}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTheSameIsOneSource(t *testing.T) {
	args := []string{"nginx", "web=nginx", "docker.io/library/nginx:latest", "front=nginx", "nginx:1", "nginx@" + dgst}
	found, err := sources.Read(t.Context(), strings.NewReader("nginx:1@"+dgst+"\nnginx:1"), args, []string{"-"}, sources.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range found {
		got = append(got, show(s))
	}
	nginx := "docker.io/library/nginx"
	want := []string{"web=" + nginx + ":latest", "front=" + nginx + ":latest", nginx + ":1", nginx + "@" + dgst, nginx + "@" + dgst + " (1)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"nginx", bakeFile, composeFile, fmt.Sprintf(chart, dgst), bomb()} {
		for i := range 5 {
			f.Add(seed, i)
		}
	}
	f.Fuzz(func(t *testing.T, text string, format int) {
		o := sources.Options{}
		if all := sources.Formats(); format > 0 && format <= len(all) {
			o.Format = all[format-1]
		}
		found, err := sources.Read(t.Context(), strings.NewReader(text), nil, []string{"-"}, o)
		if err == nil && len(found) == 0 {
			t.Errorf("nothing was found in %q, and no error", text)
		}
		for _, s := range found {
			if again, err := auth.ParseReference(s.Reference.String()); err != nil || again != s.Reference {
				t.Errorf("%q: %v is no reference", text, s)
			}
		}
	})
}
