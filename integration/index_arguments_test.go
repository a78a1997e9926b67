package integration

import (
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
)

// openIndexes is a registry for everybody with the members web and a/b.
func openIndexes(t *testing.T, strict bool) (*registry, nestctl) {
	t.Helper()
	row := strategyRow{options: registryOptions{strict: strict}}
	reg := row.start(t)
	for _, name := range []string{"web", "a/b"} {
		reg.pushNode(t, "org/app/"+name, "v1", newImage(t, amd64, name+"\n", baseLayer(t)))
	}
	return reg, newNestctl(t, dockerConfig(t, nil, nil))
}

// TestIndexArguments: what cannot become an index that pulls is refused before anything is put.
func TestIndexArguments(t *testing.T) {
	reg, client := openIndexes(t, true)
	app, web := reg.ref("org/app", "v1"), reg.ref("org/app/web", "v1")
	for word, args := range map[string][]string{
		"tag \"a b\"":                      {"--tag", "a b", app, web},
		"tag \"\"":                         {"--tag", "", app, web},
		"must be a media type":             {"--artifact-type", "application/é", app, web},
		"must be KEY=VALUE":                {"--annotation", "x", app, web},
		"below " + reg.host + "/org/app":   {app, reg.ref("org/other", "v1")},
		"not under a digest":               {app + "@sha256:" + strings.Repeat("a", 64), web},
		"255 characters":                   {reg.host + "/org/" + strings.Repeat("a", 255) + ":v1", web},
		"invalid reference format":         {app, "name="},
		"where the SOURCE is":              {"--member-annotation", childNamespace + "=b", app, web},
		"must be one of auto, reference, ": {"--strategy", "guess", app, web},
	} {
		client.fails(t, exitUsage, []string{word}, append([]string{"index", "create", "--plain-http"}, args...)...)
	}
	client.fails(t, exitNotFound, []string{"org/app/web:nope"}, "index", "create", "--plain-http", app, reg.ref("org/app/web", "nope"))
	if puts := only(reg.requests(), func(r request) bool { return r.Method != "GET" && r.Method != "HEAD" }); len(puts) > 0 {
		t.Errorf("put: %+v", puts)
	}
}

// TestIndexTwice: a member that is named twice, or is there already, is one member; an index whose last member goes is
// empty; what is no index is not changed.
func TestIndexTwice(t *testing.T) {
	reg, client := openIndexes(t, true)
	app, web, b := reg.ref("org/app", "v1"), reg.ref("org/app/web", "v1"), reg.ref("org/app/a/b", "v1")
	if made := client.index(t, "create", app, web, web); len(made.Members) != 1 {
		t.Errorf("made %+v", made)
	}
	if made := client.index(t, "add", app, b, web); len(made.Members) != 2 {
		t.Errorf("added %+v", made)
	}
	if made := client.index(t, "remove", app, "web"); len(made.Members) != 1 {
		t.Errorf("removed %+v", made)
	}
	client.fails(t, exitFailure, []string{"org/app/a/b", "does not allow DELETE (405", "configured to delete"}, "index", "unprotect", "--plain-http", app)
	if got := client.run(t, "index", "remove", "--plain-http", app, "a/b").stdout; strings.Count(got, "\n") != 2 {
		t.Errorf("removed the last:\n%s", got)
	}
	client.index(t, "add", app, web)
	if made := client.index(t, "remove", app, "web"); made.Members == nil {
		t.Error("no list of members")
	}
	client.fails(t, exitFailure, []string{"is no index", "nestctl index create"}, "index", "add", "--plain-http", web, b)
}

// TestIndexDenied: errors name the repository, the member's or the index's, and the credential; without the right to tag
// members, --no-protect is the way.
func TestIndexDenied(t *testing.T) {
	bundle := newApp(t)
	names := repositories("org/app", bundle)
	users := pushers(names...)
	worker := loginOf("org/app/worker")
	users[worker.username] = user{password: worker.password, rights: pulls("org/app/worker")}
	reg := registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, startTokenServer(t, users))
	a := &app{registry: reg, logins: map[string]login{}}
	for _, m := range bundle.members {
		a.pushNode(t, "org/app/"+m.namespace, "v1", m.node)
		a.logins[a.host+"/org/app/"+m.namespace] = loginOf("org/app/" + m.namespace)
	}
	a.logins[a.host+"/org/app"] = loginOf("org/app")
	ref, web := reg.ref("org/app", "v1"), reg.ref("org/app/web", "v1")
	create := []string{"index", "create", "--plain-http", ref, web}
	right := newNestctl(t, dockerConfig(t, a.logins, nil))
	right.fails(t, exitDenied, []string{a.host + "/org/app/worker denied", "pull,push", "without the right to push there use --no-protect"}, append(create, reg.ref("org/app/worker", "v1"))...)
	right.run(t, append(create, reg.ref("org/app/worker", "v1"), "--no-protect")...)
	for _, repository := range []string{a.host + "/org/app", a.host + "/org/app/web"} {
		for _, wrong := range []login{{"nobody", "canary of nobody"}, worker} {
			logins := maps.Clone(a.logins)
			logins[repository] = wrong
			client := newNestctl(t, dockerConfig(t, logins, nil))
			words := []string{repository + " denied", "config.json", "key \"" + repository + "\""}
			for _, strategy := range []string{"auto", "carrier", "anchor"} {
				client.fails(t, exitDenied, words, append(create, "--strategy", strategy, "--format", "json")...)
			}
			client.fails(t, exitDenied, words, "index", "add", "--plain-http", ref, web)
			client.fails(t, exitDenied, words, "index", "remove", "--plain-http", ref, "worker")
			if strings.HasSuffix(repository, "/web") {
				client.run(t, "index", "show", "--plain-http", ref)
			} else {
				client.fails(t, exitDenied, words, "index", "show", "--plain-http", ref)
			}
			client.fails(t, exitDenied, words, "index", "unprotect", "--plain-http", ref)
		}
	}
}

// TestIndexGone: a member that is gone from its repository can be removed; else it is named, with the way to do that.
func TestIndexGone(t *testing.T) {
	reg, client := openIndexes(t, false)
	app, b := reg.ref("org/app", "v1"), reg.ref("org/app/a/b", "v1")
	gone := newBundle(t, member{"gone", newImage(t, amd64, "gone\n", baseLayer(t))}, member{"kept", newImage(t, amd64, "kept\n", baseLayer(t))})
	reg.pushNode(t, "org/app/kept", "", gone.members[1].node)
	reg.pushManifest(t, "org/app", "v1", gone.content)
	client.fails(t, exitNotFound, []string{reg.ref("org/app/gone", gone.members[0].node.desc.Digest.String()), "nestctl index remove"}, "index", "add", "--plain-http", app, b)
	if made := client.index(t, "remove", app, "gone"); len(made.Members) != 1 {
		t.Errorf("removed %+v", made)
	}
	client.index(t, "add", app, b)
	client.pullLayout(t, app)
}

// TestIndexChain: a member that is a nested index and, after a copy to a registry that insists, a blob, can be named by
// digest and by the tag of its carrier, in an index that is made, in one that is changed, and in an anchor.
func TestIndexChain(t *testing.T) {
	src, dst, client := selectedAt(t, true)
	shop, inner := dst.ref("shop", "v1"), src.bundle.members[2].node
	client.copy(t, src.ref, shop)
	byDigest, byTag := dst.ref("shop/data", inner.desc.Digest.String()), dst.ref("shop/data", "nested-"+src.bundle.desc.Digest.Encoded()[:12])
	db := inner.members[0].node.desc.Digest.String()
	check := func(ref string) {
		t.Helper()
		if got := client.pullLayout(t, ref); !got[db] {
			t.Errorf("%s has lost what is below its member", ref)
		}
	}
	client.index(t, "add", shop, "again="+byDigest)
	check(shop)
	client.index(t, "remove", shop, "web")
	check(shop)
	for name, source := range map[string]string{"digest": byDigest, "tag": byTag} {
		for _, strategy := range []string{"carrier", "anchor"} {
			ref := dst.ref("shop", name+"-"+strategy)
			made := client.index(t, "create", "--strategy", strategy, ref, source)
			check(ref)
			if tag := "nested-" + made.Digest.Encoded()[:12]; !dst.holds(t, "shop/data", "manifests/"+tag) {
				t.Errorf("%s: the member is not protected", ref)
			}
		}
	}
	layer := src.bundle.members[1].node.blobs[0].desc.Digest.String()
	client.fails(t, exitUsage, []string{"neither a manifest nor an index"}, "index", "create", "--plain-http", shop, dst.ref("shop/rpm", layer))
}
