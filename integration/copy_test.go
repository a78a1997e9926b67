package integration

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
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

// TestCopy: from registry to registry, each repository with its own user, each content fetched once and sent once to
// each repository; the second time nothing is sent.
func TestCopy(t *testing.T) {
	src := publish(t, newDeepApp(t))
	dst := copyTo(t, false, "prod/shop", src.bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	client := newNestctl(t, dockerConfig(t, logins, nil))
	got := client.copy(t, src.ref, dst.ref)
	if got.Digest != src.bundle.desc.Digest.String() || got.Strategy != "reference" || len(got.Members) != 4 {
		t.Errorf("copied %+v", got)
	}
	showLog(t, dst.requests())
	for _, line := range slices.Concat(src.tokens.requests(), dst.tokens.requests()) {
		t.Logf("%+v", line)
	}
	dst.wholeAt(t, client, dst.ref)
	if again := client.copy(t, src.ref, dst.ref); again.Uploaded != 0 {
		t.Errorf("again %+v", again)
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
