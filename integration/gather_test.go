package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const originAnnotation = "io.github.nestedoci.origin"

// gathered is an index that nestctl has made of sources on other registries.
type gathered struct {
	*registry
	client nestctl
	ref    string
}

// gatherer is a destination, with a user for org/app and for each repository below it, and a client that has the
// credentials of that and of sources.
func gatherer(t *testing.T, logins map[string]login, children ...string) gathered {
	t.Helper()
	repositories := []string{"org/app"}
	for _, child := range children {
		repositories = append(repositories, "org/app/"+child)
	}
	dst := registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, startTokenServer(t, pushers(repositories...)))
	logins = maps.Clone(logins)
	for _, r := range repositories {
		logins[dst.host+"/"+r] = loginOf(r)
	}
	return gathered{dst, newNestctl(t, dockerConfig(t, logins, nil)), dst.ref("org/app", "v1")}
}

// source is a registry with a user for each repository, and images in them under the tag v1.
func source(t *testing.T, images map[string]node) (*registry, map[string]login) {
	t.Helper()
	names := slices.Sorted(maps.Keys(images))
	r := startRegistry(t, startTokenServer(t, pushers(names...)))
	logins := map[string]login{}
	for _, name := range names {
		r.pushNode(t, name, "v1", images[name])
		logins[r.host+"/"+name] = loginOf(name)
	}
	return r, logins
}

// pipe runs nestctl with text on standard input.
func (g gathered) pipe(t *testing.T, text string, args ...string) outcome {
	t.Helper()
	cmd := g.client.command(t, args...)
	cmd.Stdin = strings.NewReader(text)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// entries are those of the index, by child namespace.
func (g gathered) entries(t *testing.T) map[string]ocispec.Descriptor {
	t.Helper()
	var index ocispec.Index
	must(t, json.Unmarshal([]byte(g.client.run(t, "index", "show", "--plain-http", g.ref).stdout), &index))
	entries := map[string]ocispec.Descriptor{}
	for _, d := range index.Manifests {
		entries[d.Annotations[childNamespace]] = d
	}
	return entries
}

// TestGatherChart: a rendered chart whose images are on two registries, with a user for each repository, becomes one
// bundle: everything is there, says where it came from, and a second time nothing is sent.
func TestGatherChart(t *testing.T) {
	base := baseLayer(t)
	web := newIndex(t, newImage(t, amd64, "web\n", base), newImage(t, arm64, "web\n", base))
	first, logins := source(t, map[string]node{"library/nginx": web, "library/redis": newImage(t, amd64, "redis\n", base)})
	redis := newImage(t, amd64, "another redis\n", base)
	second, more := source(t, map[string]node{"team/redis": redis, "team/data": newArtifact(t, "application/vnd.test.data", randomBlob("text/plain", 1<<16))})
	signature := newReferrer(t, web.desc, "application/vnd.test.signature", "signed")
	first.pushReferrer(t, "library/nginx", signature)
	maps.Copy(logins, more)
	g := gatherer(t, logins, "nginx", "library/redis", "team/redis", "data")
	chart := fmt.Sprintf(`---
# Source: shop/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
        - image: "%[1]s/library/nginx:v1"
      containers:
        - image: %[1]s/library/nginx:v1
        - image: %[2]s/team/redis:v1@%[3]s
---
apiVersion: v1
kind: Pod
spec:
  containers: [{image: %[1]s/library/redis:v1}]
  volumes: [{image: {reference: '%[2]s/team/data:v1'}}]
`, first.host, second.host, redis.desc.Digest)
	made := g.pipe(t, chart, "index", "create", g.ref, "--plain-http", "--copy", "--referrers", "--from", "-")
	if made.code != exitOK {
		t.Fatalf("exit code %d: %s", made.code, made.stderr)
	}
	entries := g.entries(t)
	for child, want := range map[string]string{
		"nginx":         first.ref("library/nginx", "v1") + "@" + web.desc.Digest.String(),
		"library/redis": first.ref("library/redis", "v1") + "@" + entries["library/redis"].Digest.String(),
		"team/redis":    second.ref("team/redis", "v1") + "@" + redis.desc.Digest.String(),
		"data":          second.ref("team/data", "v1") + "@" + entries["data"].Digest.String(),
	} {
		if origin := entries[child].Annotations[originAnnotation]; origin != want || len(entries) != 4 {
			t.Errorf("%s of %d comes from %q, want %q", child, len(entries), origin, want)
		}
	}
	layout := t.TempDir() + "/layout"
	g.client.run(t, "copy", "--plain-http", "--referrers", g.ref, "oci-layout:"+layout)
	checkBlobs(t, layout)
	for _, c := range slices.Concat(web.contents(), redis.contents(), signature.contents()) {
		if _, err := os.Stat(blobPath(layout, c.desc.Digest)); err != nil {
			t.Errorf("lost: %v", err)
		}
	}
	g.requests()
	if again := g.pipe(t, chart, "index", "create", g.ref, "--plain-http", "--copy", "--referrers", "--from", "-"); again.stdout != made.stdout {
		t.Errorf("the second time: %s%s", again.stdout, again.stderr)
	}
	for _, line := range g.requests() {
		if line.Method != "HEAD" && line.Method != "GET" && line.Status/100 == 2 {
			t.Errorf("the second time: %+v", line)
		}
	}
}

// TestGatherWithoutOne: when a source is missing, or its credential, nothing is sent.
func TestGatherWithoutOne(t *testing.T) {
	first, logins := source(t, map[string]node{"library/nginx": newImage(t, amd64, "web\n", baseLayer(t)), "library/redis": newImage(t, amd64, "redis\n", baseLayer(t))})
	g := gatherer(t, logins, "nginx", "redis")
	g.client.fails(t, 4, []string{"library/redis"}, "index", "create", "--plain-http", "--copy", g.ref, first.ref("library/nginx", "v1"), first.ref("library/redis", "none"))
	delete(logins, first.host+"/library/redis")
	without := gathered{g.registry, newNestctl(t, dockerConfig(t, logins, nil)), g.ref}
	without.client.fails(t, 3, []string{"library/redis"}, "index", "create", "--plain-http", "--copy", g.ref, first.ref("library/nginx", "v1"), first.ref("library/redis", "v1"))
	if lines := g.requests(); len(lines) > 0 {
		t.Errorf("the destination was asked %+v", lines)
	}
}

// TestGatherRequests: 20 images with a layer in common are copied with the least requests. That is at the source one
// for each manifest, each blob once, and once more for each further image that has the layer in common, whether it has;
// at the destination the question for each manifest and each blob, an upload or a mount for each that is not there, and
// one token for each repository on each side, and one for each mount.
func TestGatherRequests(t *testing.T) {
	const images = 20
	base := baseLayer(t)
	pushed := map[string]node{}
	var children, args []string
	for i := range images {
		name := fmt.Sprintf("m%02d", i)
		pushed["team/"+name] = newImage(t, amd64, name, base, newLayer(t, "own", randomBlob("", 1<<12).data))
		children = append(children, name)
	}
	src, _ := source(t, pushed)
	src.requests()
	tokens := startTokenServer(t, map[string]user{"all": {password: "canary of all", rights: rightsFor("org/app", children)}})
	dst := registryOptions{serve: (*httptest.Server).Start}.start(t, tokens)
	logins := map[string]login{dst.host: {"all", "canary of all"}}
	for name := range pushed {
		logins[src.host+"/"+name] = loginOf(name)
		args = append(args, src.ref(name, "v1"))
	}
	slices.Sort(args)
	client := newNestctl(t, dockerConfig(t, logins, nil))
	client.run(t, append([]string{"index", "create", "--plain-http", "--copy", dst.ref("org/app", "v1")}, args...)...)
	const carrier = 2 // blobs: the index, and the empty config
	const own = 3     // blobs of each image: config and two layers, beside the one in common
	wantCounts(t, src, map[string]int{"GET manifests 200": images, "GET blobs 200": images*own + 1, "HEAD blobs 200": images - 1})
	wantCounts(t, dst, map[string]int{
		"HEAD blobs 404":   images*(own+1) + carrier,
		"POST uploads 201": images - 1, // mounted
		"POST uploads 202": images*own + 1 + carrier, "PUT uploads 201": images*own + 1 + carrier,
		"HEAD manifests 404": images + 1, "PUT manifests 201": images + 1,
		"GET /v2/_nestedoci/child-namespaces 404": 1,
	})
	if got := len(src.tokens.requests()); got != images {
		t.Errorf("%d tokens of the source's", got)
	}
	if got := len(tokens.requests()); got != images+1+images-1 {
		t.Errorf("%d tokens of the destination's", got)
	}
}

// wantCounts fails unless these requests were answered, and no others but for the first ones without a token: as many
// as are made side by side.
func wantCounts(t *testing.T, r *registry, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	unsigned := 0
	for _, line := range r.requests() {
		if line.Status == 401 {
			unsigned++
			continue
		}
		got[fmt.Sprintf("%s %s %d", line.Method, line.Kind, line.Status)]++
	}
	if !maps.Equal(got, want) || unsigned > 8 {
		t.Errorf("requests %v and %d without a token\nwant     %v", got, unsigned, want)
	}
}

func rightsFor(parent string, children []string) map[string][]string {
	rights := map[string][]string{parent: {"pull", "push"}}
	for _, child := range children {
		rights[parent+"/"+child] = []string{"pull", "push"}
	}
	return rights
}
