package integration

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

// TestCopyDestination: where a destination cannot have the members' repositories, that is said before content goes
// there, and of a dry run, too.
func TestCopyDestination(t *testing.T) {
	src, dst, client := selectedAt(t, true)
	long := dst.host + "/" + strings.Repeat("a", 255-len("/data/db")-len(dst.host)) + ":v1" // a character too many
	for destination, word := range map[string]string{
		long:                        "name a shorter destination",
		"docker.io/library/shop:v1": "Docker Hub has no repositories below docker.io/library/shop",
		dst.ref("shop", src.bundle.desc.Digest.String()): "name a tag, or none",
	} {
		client.fails(t, exitUsage, []string{word}, "copy", "--plain-http", src.ref, destination)
		client.fails(t, exitUsage, []string{word}, "copy", "--plain-http", "--dry-run", src.ref, destination)
	}
	if tags := only(dst.requests(), func(r request) bool { return r.Method == "PUT" && r.Reference == "v1" }); len(tags) > 0 {
		t.Errorf("tagged: %+v", tags)
	}
	longest := strings.Replace(long, "/a", "/", 1)
	client.copy(t, src.ref, longest)
	if got := client.pullLayout(t, longest); len(got) != len(textsOf(digestsOf(src.bundle))) {
		t.Errorf("pulled %d", len(got))
	}
}

// TestCopyPlan: what a dry run says in JSON is what is there afterwards.
func TestCopyPlan(t *testing.T) {
	src, dst, client := selectedAt(t, true)
	var plan []struct {
		Repository, Digest, MediaType, ArtifactType string
		Size                                        int64
	}
	must(t, json.Unmarshal([]byte(client.run(t, "copy", "--plain-http", "--dry-run", "--format", "json", src.ref, dst.ref("shop", "v1")).stdout), &plan))
	client.copy(t, src.ref, dst.ref("shop", "v1"))
	planned := map[string]bool{}
	for _, p := range plan {
		planned[p.Digest] = true
		repository, ok := strings.CutPrefix(p.Repository, dst.host+"/")
		if !ok || !dst.holds(t, repository, "manifests/"+p.Digest) && !dst.holds(t, repository, "blobs/"+p.Digest) {
			t.Errorf("is not there: %+v", p)
		}
	}
	if got := client.pullLayout(t, dst.ref("shop", "v1")); !maps.Equal(got, planned) {
		t.Errorf("planned %v, copied %v", planned, got)
	}
}

// TestCopyOver: a copy takes a tag away from something else; onto itself it changes nothing; of a digest it has no tag.
func TestCopyOver(t *testing.T) {
	for _, strict := range []bool{false, true} {
		src, dst, client := selectedAt(t, strict)
		shop, d := dst.ref("shop", "v1"), src.bundle.desc.Digest.String()
		dst.pushNode(t, "shop", "v1", newImage(t, amd64, "other\n", baseLayer(t)))
		client.copy(t, src.ref, shop)
		if got := client.pullLayout(t, shop); !got[d] {
			t.Errorf("the tag is something else")
		}
		if got := client.copy(t, shop, shop); got.Digest != d || got.Uploaded != 0 {
			t.Errorf("copied onto itself: %+v", got)
		}
		if got := client.pullLayout(t, shop); !got[d] {
			t.Errorf("the tag is something else")
		}
		by := src.registry.ref("org/app", d)
		if got := client.copy(t, by, dst.host+"/digest"); got.Digest != d {
			t.Errorf("copied %+v", got)
		}
		if got := client.pullLayout(t, dst.ref("digest", d)); !got[d] {
			t.Errorf("pulled %v", got)
		}
		if dst.holds(t, "digest", "manifests/latest") {
			t.Error("there is a tag that nobody asked for")
		}
		client.copy(t, by, dst.ref("digest", "latest"))
		if !dst.holds(t, "digest", "manifests/latest") {
			t.Error("the tag that was asked for is not there")
		}
	}
}

// TestCopyDenied: errors name the member's repository, at the source or at the destination, and the credential.
func TestCopyDenied(t *testing.T) {
	src := publish(t, newDeepApp(t))
	dst := copyTo(t, true, "prod/shop", src.bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	for repository, l := range map[string]login{
		src.host + "/org/app/data/db":   {"nobody", "canary of nobody"},
		src.host + "/org/app/web":       loginOf("org/app/rpm"),
		dst.host + "/prod/shop/web":     loginOf("prod/shop/rpm"),
		dst.host + "/prod/shop/data/db": {"nobody", "canary of nobody"},
		dst.host + "/prod/shop":         loginOf("prod/shop/rpm"),
	} {
		wrong := maps.Clone(logins)
		wrong[repository] = l
		client := newNestctl(t, dockerConfig(t, wrong, nil))
		words := []string{repository + " denied", "config.json", "key \"" + repository + "\"", "scope repository:" + strings.SplitN(repository, "/", 2)[1]}
		for _, more := range []string{"--format=text", "--format=json", "--referrers", "--debug", "--sparse"} {
			client.fails(t, exitDenied, words, "copy", "--plain-http", more, src.ref, dst.ref)
			if got := client.try(t, "copy", "--plain-http", more, src.ref, dst.ref); got.stdout != "" {
				t.Errorf("a result of what failed: %s", got.stdout)
			}
		}
	}
	if tags := only(dst.requests(), func(r request) bool { return r.Method == "PUT" && r.Reference == "v1" && r.Status < 300 }); len(tags) > 0 {
		t.Errorf("tagged: %+v", tags)
	}
}
