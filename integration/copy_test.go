package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newDeepApp is a bundle with a member for two platforms, an artifact, and a member that is a bundle itself; two members
// share a layer.
func newDeepApp(t testing.TB) node {
	t.Helper()
	base := baseLayer(t)
	web := newIndex(t, newImage(t, amd64, "web on amd64\n", base), newImage(t, arm64, "web on arm64\n", base))
	inner := newBundle(t, member{"db", newImage(t, amd64, "db\n", base)})
	return newBundle(t, member{"web", web}, member{"rpm", newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<16))}, member{"data", inner})
}

// pushers gives every repository a user of its own who may also push.
func pushers(repositories ...string) map[string]user {
	users := map[string]user{}
	for _, repository := range repositories {
		l := loginOf(repository)
		users[l.username] = user{password: l.password, rights: map[string][]string{repository: {"pull", "push"}}}
	}
	return users
}

// copyTo is an empty registry with users for a bundle's repositories below a parent.
func copyTo(t testing.TB, strict bool, parent string, bundle node) *app {
	t.Helper()
	names := repositories(parent, bundle)
	reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, pushers(names...)))
	a := &app{registry: reg, bundle: bundle, ref: reg.ref(parent, "v1"), logins: map[string]login{}}
	for _, name := range names {
		a.logins[reg.host+"/"+name] = loginOf(name)
	}
	return a
}

type copyResult struct {
	Digest, Strategy       string
	Members, Missing       []string
	Uploaded, There, Bytes int64
}

func (n nestctl) copy(t testing.TB, args ...string) copyResult {
	t.Helper()
	var result copyResult
	must(t, json.Unmarshal([]byte(n.run(t, append([]string{"copy", "--plain-http", "--format", "json"}, args...)...).stdout), &result))
	return result
}

// wholeAt pulls everything and checks that it is the bundle.
func (a *app) wholeAt(t testing.TB, client nestctl, ref string) {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	client.run(t, "pull", "--plain-http", "--all-platforms", "--quiet", "--to", "oci-layout:"+layout, ref)
	for _, n := range a.bundle.contents() {
		if _, err := os.Stat(blobPath(layout, n.desc.Digest)); err != nil {
			t.Errorf("%s lacks %s", ref, n.desc.Digest)
		}
	}
}

// TestCopy: from registry to registry, each repository with its own user, each content asked for once and sent once to
// each repository; the second time nothing is sent.
func TestCopy(t *testing.T) {
	for _, way := range []struct {
		strict          bool
		asked, strategy string
	}{{false, "reference", "reference"}, {false, "auto", "carrier"}, {true, "auto", "carrier"}} {
		t.Run(fmt.Sprintf("%s, strict %t", way.strategy, way.strict), func(t *testing.T) {
			src := publish(t, newDeepApp(t))
			dst := copyTo(t, way.strict, "prod/shop", src.bundle)
			logins := maps.Clone(src.logins)
			maps.Copy(logins, dst.logins)
			client := newNestctl(t, dockerConfig(t, logins, nil))
			src.requests()
			got := client.copy(t, "--strategy", way.asked, src.ref, dst.ref)
			if got.Digest != src.bundle.desc.Digest.String() || got.Strategy != way.strategy || len(got.Members) != 4 {
				t.Errorf("copied %+v", got)
			}
			src.checkTokens(t)
			dst.checkUsers(t)
			uses := tally(src.bundle.contents(), func(c content) string { return c.desc.Digest.String() })
			for reference, n := range tally(only(src.requests(), func(l request) bool { return l.Status == 200 }), func(l request) string { return l.Reference }) {
				if n > max(uses[reference], 1) {
					t.Errorf("%s was asked for %d times", reference, n)
				}
			}
			puts := only(dst.requests(), func(l request) bool { return l.Method == "PUT" && l.Status == 201 })
			if last := puts[len(puts)-1]; last.Reference != "v1" || last.Repository != "prod/shop" {
				t.Errorf("the last that was put is %+v", last)
			}
			if blobs := only(puts, func(l request) bool { return l.Kind == "uploads" }); int64(len(blobs)) < got.Uploaded {
				t.Errorf("%d uploads for %d blobs", len(blobs), got.Uploaded)
			}
			dst.wholeAt(t, client, dst.ref)
			dst.requests()
			again := client.copy(t, "--strategy", way.asked, src.ref, dst.ref)
			if sent := only(dst.requests(), func(l request) bool { return l.Method == "PUT" && l.Kind == "uploads" }); again.Uploaded != 0 || len(sent) > 0 {
				t.Errorf("the second time %+v, %+v", again, sent)
			}
		})
	}
}

// TestCopyWithin: within a registry blobs are mounted by who may read both repositories, and nothing is uploaded but what
// carriers need: each of the two nested indexes, and the empty config beside it.
func TestCopyWithin(t *testing.T) {
	bundle := newDeepApp(t)
	all := login{"all", "canary of all"}
	users := userOfAll(bundle, all)
	for _, name := range repositories("prod/shop", bundle) {
		users[all.username].rights[name] = []string{"pull", "push"}
	}
	src := publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle)
	client := newNestctl(t, dockerConfig(t, map[string]login{src.host: all}, nil))
	src.requests()
	got := client.copy(t, src.ref, src.registry.ref("prod/shop", "v2"))
	if got.Uploaded != 0 || got.Bytes != 0 {
		t.Errorf("copied %+v", got)
	}
	if sent := only(src.requests(), func(l request) bool { return l.Method == "PUT" && l.Kind == "uploads" }); len(sent) != 4 {
		t.Errorf("uploaded %+v", sent)
	}
	src.wholeAt(t, client, src.registry.ref("prod/shop", "v2"))
}

// TestCopyLayouts: through an OCI layout and an archive into another registry, with the same digests.
func TestCopyLayouts(t *testing.T) {
	src := publish(t, newDeepApp(t))
	dst := copyTo(t, true, "prod/shop", src.bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	client, dir := newNestctl(t, dockerConfig(t, logins, nil)), t.TempDir()
	layout, archive := "oci-layout:"+dir+"/layout", "oci-archive:"+dir+"/app.tar"
	client.copy(t, src.ref, layout)
	client.copy(t, layout+":v1", archive)
	if got := client.copy(t, archive, dst.ref); got.Digest != src.bundle.desc.Digest.String() || got.Strategy != "carrier" {
		t.Errorf("copied %+v", got)
	}
	dst.wholeAt(t, client, dst.ref)
	client.fails(t, 4, []string{"no v2 in index.json", "v1"}, "copy", layout+":v2", dst.ref)
	client.fails(t, 4, []string{"not an OCI image layout"}, "copy", "oci-layout:"+dir, dst.ref)
}

// TestCopyReferrers: what refers to the root, to members, and to referrers comes along, where registries list it.
func TestCopyReferrers(t *testing.T) {
	bundle := newDeepApp(t)
	src := publish(t, bundle)
	signed := map[string]node{"org/app": bundle, "org/app/rpm": bundle.members[1].node, "org/app/data/db": bundle.members[2].node.members[0].node}
	var all []content
	for repository, subject := range signed {
		sbom := newReferrer(t, subject.desc, "application/vnd.test.sbom", "sbom of "+repository)
		signature := newReferrer(t, sbom.desc, "application/vnd.test.signature", "signature of "+repository)
		for _, r := range []node{sbom, signature} {
			src.pushReferrer(t, repository, r)
			all = append(all, r.contents()...)
		}
	}
	dst := copyTo(t, true, "prod/shop", bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	client, layout := newNestctl(t, dockerConfig(t, logins, nil)), "oci-layout:"+t.TempDir()+"/layout"
	client.copy(t, "--referrers", src.ref, layout)
	client.copy(t, "--referrers", layout, dst.ref)
	back := t.TempDir()
	client.copy(t, "--referrers", dst.ref, "oci-layout:"+back)
	for _, c := range all {
		if _, err := os.Stat(blobPath(back, c.desc.Digest)); err != nil {
			t.Errorf("lost: %v", err)
		}
	}
}

// newReferrer is an artifact that refers to something.
func newReferrer(t testing.TB, subject ocispec.Descriptor, artifactType, text string) node {
	t.Helper()
	n := newArtifact(t, artifactType, newContent("text/plain", []byte(text)))
	var manifest ocispec.Manifest
	must(t, json.Unmarshal(n.data, &manifest))
	manifest.Subject = &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	n.content = newDocument(t, ocispec.MediaTypeImageManifest, manifest)
	return n
}

// pushReferrer pushes a referrer and, as the registry has no referrers API, lists it under the fallback tag.
func (r *registry) pushReferrer(t testing.TB, repository string, n node) {
	t.Helper()
	r.pushNode(t, repository, "", n)
	var manifest ocispec.Manifest
	must(t, json.Unmarshal(n.data, &manifest))
	desc := n.desc
	desc.ArtifactType = manifest.ArtifactType
	r.pushManifest(t, repository, strings.Replace(manifest.Subject.Digest.String(), ":", "-", 1), indexOf(t, desc).content)
}

// TestCopyFlatten: members become entries of a plain index in one repository, which anybody can pull from there.
func TestCopyFlatten(t *testing.T) {
	src := publish(t, newDeepApp(t))
	dst := copyTo(t, true, "flat", node{})
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	client := newNestctl(t, dockerConfig(t, logins, nil))
	got := client.copy(t, "--flatten", src.ref, dst.ref)
	token, _ := askToken(t, dst.tokens, loginOf("flat").username, loginOf("flat").password, pullScope("flat"))
	answer := dst.get(t, "/v2/flat/manifests/v1", token)
	var index ocispec.Index
	must(t, json.Unmarshal(answer.body, &index))
	var names []string
	for _, d := range index.Manifests {
		names = append(names, d.Annotations[ocispec.AnnotationRefName])
		if d.Annotations[childNamespace] != "" {
			t.Errorf("entry %+v", d)
		}
	}
	if want := []string{"web", "rpm", "data"}; !slices.Equal(names, want) || got.Digest == src.bundle.desc.Digest.String() {
		t.Errorf("entries %q, want %q; %+v", names, want, got)
	}
	layout := t.TempDir()
	client.run(t, "pull", "--plain-http", "--all-platforms", "--to", "oci-layout:"+layout, dst.ref)
	for _, m := range []node{src.bundle.members[0].node, src.bundle.members[1].node, src.bundle.members[2].node.members[0].node} {
		for _, c := range m.contents() {
			if _, err := os.Stat(blobPath(layout, c.desc.Digest)); err != nil {
				t.Errorf("lost: %v", err)
			}
		}
	}
}

// TestCopySparse: a member that the source does not have is an error, or left out and named.
func TestCopySparse(t *testing.T) {
	bundle := newDeepApp(t)
	reg := startRegistry(t, startTokenServer(t, userPerRepository(repositories("org/app", bundle)...)))
	src := publishAt(t, reg, node{content: bundle.content, members: bundle.members[:2]})
	for _, name := range repositories("org/app", bundle) {
		src.logins[reg.host+"/"+name] = loginOf(name)
	}
	dst := copyTo(t, false, "prod/shop", bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	client := newNestctl(t, dockerConfig(t, logins, nil))
	client.fails(t, 4, []string{"org/app/data@sha256:"}, "copy", "--plain-http", src.ref, dst.ref)
	if puts := only(dst.requests(), func(l request) bool { return l.Method == "PUT" && l.Reference == "v1" }); len(puts) > 0 {
		t.Errorf("tagged: %+v", puts)
	}
	got := client.copy(t, "--sparse", src.ref, dst.ref)
	if len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "org/app/data@") || len(got.Members) != 2 {
		t.Errorf("copied %+v", got)
	}
}

// TestCopyPlain: images, plain indexes and artifacts are copied as they are, and a dry run says what would be where.
func TestCopyPlain(t *testing.T) {
	for name, n := range map[string]node{
		"image":    newImage(t, amd64, "image\n", baseLayer(t)),
		"index":    newIndex(t, newImage(t, amd64, "one\n", baseLayer(t)), newImage(t, arm64, "two\n", baseLayer(t))),
		"artifact": newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1000)),
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := publish(t, n), copyTo(t, true, "prod/shop", n)
			logins := maps.Clone(src.logins)
			maps.Copy(logins, dst.logins)
			client := newNestctl(t, dockerConfig(t, logins, nil))
			plan := client.run(t, "copy", "--plain-http", "--dry-run", src.ref, dst.ref).stdout
			if log := dst.requests(); len(log) > 0 {
				t.Errorf("a dry run asked %+v", log)
			}
			got := client.copy(t, src.ref, dst.ref)
			if got.Digest != n.desc.Digest.String() || got.Strategy != "" {
				t.Errorf("copied %+v", got)
			}
			for _, c := range n.contents() {
				if !strings.Contains(plan, dst.host+"/prod/shop "+c.desc.Digest.String()) {
					t.Errorf("not in the plan: %s\n%s", c.desc.Digest, plan)
				}
			}
			dst.wholeAt(t, client, dst.ref)
		})
	}
}

// contents is everything that belongs to a node, itself included.
func (n node) contents() []content {
	all := append([]content{n.content}, n.blobs...)
	for _, below := range n.nodes {
		all = append(all, below.contents()...)
	}
	for _, m := range n.members {
		all = append(all, m.node.contents()...)
	}
	return all
}
