package integration

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// examples are those in the directory, with the members that each publishes at REGISTRY/examples/NAME:v1, and what else is to
// be seen in what it left.
var examples = map[string]struct {
	members []string
	check   func(*testing.T, example)
}{
	"airgap":        {nil, checkAirgapExample},
	"bake":          {[]string{"web", "worker"}, nil},
	"compose":       {[]string{"postgresql-16-c9s", "valkey", "web"}, checkComposeExample},
	"flux":          {[]string{"deploy", "web", "worker"}, checkFluxExample},
	"github-action": {[]string{"web", "worker"}, checkGitHubExample},
	"gitlab-ci":     {[]string{"web", "worker"}, checkGitLabExample},
	"helm":          {[]string{"nginx", "web"}, checkHelmExample},
	"ko":            {[]string{"web", "worker"}, nil},
	"kustomize":     {[]string{"web", "worker"}, checkKustomizeExample},
	"tekton-task":   {[]string{"web", "worker"}, checkTektonExample},
}

// example is one that has run.
type example struct {
	source, out string            // directories
	parent      string            // host/repository
	far         string            // host/repository at another registry
	root        string            // digest
	refs        map[string]string // of members, pinned
}

// TestExamples: the scripts of the examples do what their READMEs say, at a registry that knows nothing of child namespaces.
// The bundle of each is complete, and what each made of it is pinned.
func TestExamples(t *testing.T) {
	needs(t, "linux", "nestctl", "crane", "oras", "ko", "bash")
	entries, err := os.ReadDir("../examples")
	must(t, err)
	list := readText(t, "../examples/README.md")
	for _, entry := range entries {
		if _, known := examples[entry.Name()]; entry.IsDir() && (!known || !strings.Contains(list, "| ["+entry.Name()+"]("+entry.Name()+") |")) {
			t.Errorf("the example %s is not in the list, or nothing is known of it here", entry.Name())
		}
	}
	at := strategyRow{options: registryOptions{strict: true}}
	reg, far := at.start(t), at.start(t)
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			e := runExample(t, reg, far, name)
			if want.members != nil {
				e.checkBundle(t, "v1", want.members...)
			}
			if want.check != nil {
				want.check(t, e)
			}
		})
	}
}

// runExample runs the example's script with nothing of the machine's configuration but what Go has built, for ko.
func runExample(t *testing.T, reg, far *registry, name string) example {
	t.Helper()
	source, err := filepath.Abs("../examples/" + name)
	must(t, err)
	e := example{source: source, out: t.TempDir(), parent: reg.host + "/examples/" + name, far: far.host + "/prod"}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(source, "run.sh"))
	cmd.Dir = home
	cache := strings.TrimSpace(runCommand(t, exec.CommandContext(t.Context(), "go", "env", "GOCACHE")))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "DOCKER_CONFIG=" + home, "GOCACHE=" + cache, "GOPROXY=off",
		"REGISTRY=" + reg.host, "FAR=" + e.far, "OUT=" + e.out}
	runCommand(t, cmd)
	return e
}

// checkBundle checks that everything of the bundle is there, and that its members are those of the example.
func (e *example) checkBundle(t *testing.T, tag string, members ...string) {
	t.Helper()
	ref := e.parent + ":" + tag
	client := newNestctl(t, dockerConfig(t, nil, nil))
	var checked struct{ Root struct{ Digest string } }
	must(t, json.Unmarshal([]byte(client.run(t, "check", "--format", "json", ref).stdout), &checked))
	var resolved []struct{ Namespace, Ref string }
	must(t, json.Unmarshal([]byte(client.run(t, "resolve", "--format", "json", ref).stdout), &resolved))
	e.root, e.refs = checked.Root.Digest, map[string]string{}
	for _, m := range resolved {
		e.refs[m.Namespace] = m.Ref
		if !strings.HasPrefix(m.Ref, e.parent+"/"+m.Namespace+"@sha256:") {
			t.Errorf("member %s is %s", m.Namespace, m.Ref)
		}
	}
	if got := slices.Sorted(maps.Keys(e.refs)); !slices.Equal(got, members) {
		t.Errorf("members %q, want %q", got, members)
	}
}

var imageLine = regexp.MustCompile(`(?m)^[- ]*image: *"?([^"\s]+)`)

// checkPinned checks that a text names members as its images, in this order, each pinned.
func (e *example) checkPinned(t *testing.T, text string, members ...string) {
	t.Helper()
	var got, want []string
	for _, m := range imageLine.FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	for _, namespace := range members {
		want = append(want, e.refs[namespace])
	}
	if !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
}

// left is what the example left in a file.
func (e *example) left(t *testing.T, name string) string {
	t.Helper()
	return readText(t, filepath.Join(e.out, name))
}

// checkStep checks that what has run is what a YAML file has at a path of keys and positions: the block that a script cuts
// out of it with awk.
func (e *example) checkStep(t *testing.T, file string, path ...any) {
	t.Helper()
	var at any
	must(t, yaml.Unmarshal([]byte(readText(t, filepath.Join(e.source, file))), &at))
	for _, key := range path {
		switch key := key.(type) {
		case string:
			at = at.(map[string]any)[key]
		case int:
			at = at.([]any)[key]
		}
	}
	if got := e.left(t, "step.sh"); got != at {
		t.Errorf("%s has run, but %s says\n%v", got, file, at)
	}
}

func checkKustomizeExample(t *testing.T, e example) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), e.out)
	must(t, err)
	text, err := built.AsYaml()
	must(t, err)
	e.checkPinned(t, string(text), "web", "worker")
}

// checkFluxExample: the artifact that is deployed has manifests with the bundle's images in it.
func checkFluxExample(t *testing.T, e example) {
	layout := filepath.Join(t.TempDir(), "layout")
	newNestctl(t, dockerConfig(t, nil, nil)).run(t, "pull", "--member", "deploy", "--to", "oci-layout:"+layout, e.parent+":v1")
	_, manifestDigest, _ := strings.Cut(e.refs["deploy"], "@")
	var manifest ocispec.Manifest
	must(t, json.Unmarshal([]byte(readText(t, blobPath(layout, digest.Digest(manifestDigest)))), &manifest))
	deployed := t.TempDir()
	runCommand(t, exec.CommandContext(t.Context(), "tar", "-C", deployed, "-xzf", blobPath(layout, manifest.Layers[0].Digest)))
	e.checkPinned(t, readText(t, filepath.Join(deployed, "shop.yaml")), "web", "worker")
	repository, _, _ := strings.Cut(e.refs["deploy"], "@")
	if sync := e.left(t, "sync.yaml"); !strings.Contains(sync, "url: oci://"+repository+"\n") || !strings.Contains(sync, "digest: "+manifestDigest+"\n") {
		t.Error(sync)
	}
}

func checkTektonExample(t *testing.T, e example) {
	e.checkStep(t, "task.yaml", "spec", "steps", 0, "script")
	if url, digest := e.left(t, "IMAGE_URL"), e.left(t, "IMAGE_DIGEST"); url != e.parent+":v1" || digest != e.root {
		t.Errorf("results %q and %q", url, digest)
	}
}

func checkGitHubExample(t *testing.T, e example) {
	e.checkStep(t, "action.yml", "runs", "steps", 0, "run")
	lock := filepath.Join(e.out, "nested.lock")
	if got := e.left(t, "output"); got != "digest="+e.root+"\nlock="+lock+"\n" {
		t.Errorf("outputs %q", got)
	}
	newNestctl(t, dockerConfig(t, nil, nil)).run(t, "check", lock)
}

func checkGitLabExample(t *testing.T, e example) {
	e.checkStep(t, "nested.gitlab-ci.yml", ".nested-bundle", "script", 0)
	if got := e.left(t, "nested.env"); got != "WEB_IMAGE="+e.refs["web"]+"\nWORKER_IMAGE="+e.refs["worker"]+"\n" {
		t.Errorf("variables %q", got)
	}
	newNestctl(t, dockerConfig(t, nil, nil)).run(t, "check", filepath.Join(e.out, "nested.lock"))
}

// checkAirgapExample: at the other registry are both deliveries, of which the second archive has what is new.
func checkAirgapExample(t *testing.T, e example) {
	bank, shop := e, e
	bank.parent, shop.parent = e.far+"/examples/airgap/bank", e.far+"/examples/airgap/shop"
	bank.checkBundle(t, "v1", "ledger")
	shop.checkBundle(t, "v1", "web", "worker")
	before := shop.refs["worker"]
	shop.checkBundle(t, "v2", "web", "worker")
	if shop.refs["worker"] != before {
		t.Error("the worker is another one")
	}
	parts, err := filepath.Glob(filepath.Join(e.out, "v1.tar.0*"))
	must(t, err)
	if len(parts) < 2 {
		t.Errorf("the first archive is in %q", parts)
	}
	first := 0
	for _, part := range parts {
		first += len(readText(t, part))
	}
	if second := len(e.left(t, "v2.tar")); second >= first {
		t.Errorf("archives of %d and %d bytes", first, second)
	}
}

// checkComposeExample: images are pinned, and nothing else of the file has changed.
func checkComposeExample(t *testing.T, e example) {
	pinned := e.left(t, "pinned.yaml")
	e.checkPinned(t, pinned, "web", "valkey", "postgresql-16-c9s")
	if was := e.left(t, "compose.yaml"); withoutImages(pinned) != withoutImages(was) {
		t.Errorf("changed:\n%s\n%s", was, pinned)
	}
}

// checkHelmExample: manifests and values are pinned, and nothing else of the manifests has changed. Of the two images in the
// values one has a registry of its own.
func checkHelmExample(t *testing.T, e example) {
	pinned := e.left(t, "pinned.yaml")
	e.checkPinned(t, pinned, "web", "nginx")
	if was := e.left(t, "rendered.yaml"); withoutImages(pinned) != withoutImages(was) {
		t.Errorf("changed:\n%s\n%s", was, pinned)
	}
	var values struct {
		Web, Proxy struct {
			Image struct{ Registry, Repository, Digest string }
		}
	}
	must(t, yaml.Unmarshal([]byte(e.left(t, "values.yaml")), &values))
	web, proxy := values.Web.Image, values.Proxy.Image
	if got := web.Registry + "/" + web.Repository + "@" + web.Digest; got != e.refs["web"] {
		t.Errorf("values of web: %s", got)
	}
	if got := proxy.Repository + "@" + proxy.Digest; got != e.refs["nginx"] {
		t.Errorf("values of proxy: %s", got)
	}
}

// withoutImages is a text with nothing in the places of images.
func withoutImages(text string) string {
	return imageLine.ReplaceAllString(text, "")
}
