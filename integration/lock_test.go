package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLock: images of others are copied into a bundle, the bundle to another registry, and there manifests and values
// that name the others come out pinned to the copies. Its lock has the same bytes each time, stands for its reference,
// and says which member has changed when the tag has moved.
func TestLock(t *testing.T) {
	upstream, first, second := startRegistry(t, nil), startRegistry(t, nil), startRegistry(t, nil)
	nginx := newIndex(t, newImage(t, amd64, "nginx\n", baseLayer(t)), newImage(t, arm64, "nginx\n", baseLayer(t)))
	redis := newImage(t, amd64, "redis\n", baseLayer(t))
	upstream.pushNode(t, "library/nginx", "1.27", nginx)
	upstream.pushNode(t, "bitnami/redis", "7.4", redis)
	client, dir := newNestctl(t, dockerConfig(t, nil, nil)), t.TempDir()
	client.run(t, "index", "create", "--plain-http", "--copy", first.ref("org/app", "v1"), upstream.ref("library/nginx", "1.27"), "cache="+upstream.ref("bitnami/redis", "7.4"))
	client.run(t, "copy", "--plain-http", "-q", first.ref("org/app", "v1"), second.host+"/prod/app")
	copied := second.ref("prod/app", "v1")
	upstream.requests() // so far

	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	pinned := map[string]string{"nginx": second.host + "/prod/app/nginx", "cache": second.host + "/prod/app/cache"}
	manifests := file("pod.yaml", "- image: "+upstream.ref("library/nginx", "1.27")+" # theirs\n- image: '"+upstream.host+"/bitnami/redis@"+redis.desc.Digest.String()+"'\n- image: nginx:1.27\n")
	want := "- image: " + pinned["nginx"] + "@" + nginx.desc.Digest.String() + " # theirs\n- image: '" + pinned["cache"] + "@" + redis.desc.Digest.String() + "'\n- image: nginx:1.27\n"
	if got := client.run(t, "resolve", "--plain-http", "--platform", "linux/amd64", "-f", manifests, copied).stdout; got != want {
		t.Errorf("manifests become\n%s, want\n%s", got, want)
	}
	values := file("values.yaml", "web:\n  image:\n    registry: "+upstream.host+"\n    repository: library/nginx # theirs\n    tag: \"1.27\"\n")
	want = "web:\n  image:\n    registry: " + second.host + "\n    repository: prod/app/nginx # theirs\n    digest: " + nginx.desc.Digest.String() + "\n    tag: \"1.27\"\n"
	if got := client.run(t, "resolve", "--plain-http", "--platform", "linux/amd64", "--format", "helm", "-f", values, copied).stdout; got != want {
		t.Errorf("values become\n%s, want\n%s", got, want)
	}

	text := client.run(t, "resolve", "--plain-http", "--format", "lock", copied).stdout
	if again := client.run(t, "resolve", "--plain-http", "--format", "lock", copied).stdout; again != text || !strings.HasSuffix(text, "}\n") {
		t.Errorf("the lock is\n%s, and then\n%s", text, again)
	}
	for _, c := range append(nginx.contents(), redis.contents()...) {
		if !strings.Contains(text, `"`+c.desc.Digest.String()+`": `) {
			t.Errorf("the lock lacks %s", c.desc.Digest)
		}
	}
	lock := file("app.lock", text)
	layout := filepath.Join(dir, "layout")
	client.run(t, "pull", "--plain-http", "-q", "--all-platforms", "--to", "oci-layout:"+layout, lock)
	checkBlobs(t, layout)
	client.run(t, "copy", "--plain-http", "-q", lock, first.host+"/other/app")
	client.run(t, "check", "--plain-http", lock)

	if asked := upstream.requests(); len(asked) > 0 {
		t.Errorf("the registry of the origins was asked: %v", asked)
	}

	moved := newImage(t, amd64, "redis, patched\n", baseLayer(t))
	upstream.pushNode(t, "bitnami/redis", "7.4", moved)
	client.run(t, "index", "create", "--plain-http", "--copy", copied, upstream.ref("library/nginx", "1.27"), "cache="+upstream.ref("bitnami/redis", "7.4"))
	client.fails(t, 5, []string{"has moved", "is locked", "resolve --format lock"}, "pull", "--plain-http", "--to", "oci-layout:"+layout, lock)
	client.fails(t, 5, []string{"has moved"}, "copy", "--plain-http", lock, first.host+"/third/app")
	out := client.try(t, "check", "--plain-http", lock)
	if want := "member cache: " + redis.desc.Digest.String() + " is locked, it is " + moved.desc.Digest.String(); out.code != 5 || !strings.Contains(out.stdout, want) || strings.Contains(out.stdout, "member nginx: ") {
		t.Errorf("check ends with %d and says\n%s", out.code, out.stdout)
	}
}
