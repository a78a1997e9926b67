package integration

import (
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInsidePush: stock ctr pushes a bundle to another place, where nestctl and containerd find it. What is at the
// registry already is mounted, and the new parent has nothing of its members. As the registry does not say that it
// supports child namespaces, both nested indexes are carried: each is uploaded, once, with the empty config.
func TestInsidePush(t *testing.T) {
	bundle := newChain(t)
	there, elsewhere := allRepositories("org/app", bundle), allRepositories("other/place", bundle)
	alice := login{"alice", "canary of alice"}
	rights := pulls(there...)
	maps.Copy(rights, pushes(elsewhere...))
	tokens := startTokenServer(t, map[string]user{alice.username: {password: alice.password, rights: rights}})
	reg := startRegistry(t, tokens)
	a := publishAt(t, reg, bundle)
	daemon := startInside(t, nil)
	as := alice.username + ":" + alice.password
	daemon.ctr(t, "image", "pull", "--plain-http", "--all-platforms", "--user", as, a.ref)
	tokens.requests()

	puts, asked := 0, 0
	for tag, how := range map[string][]string{"plain": {"--plain-http"}, "hosts": {"--hosts-dir", a.hosts(t)}} {
		to := reg.ref("other/place", tag)
		daemon.ctr(t, "image", "tag", a.ref, to)
		reg.requests()
		daemon.ctr(t, slices.Concat([]string{"image", "push", "--user", as}, how, []string{to})...)
		log := reg.requests()
		puts += uploads(log, "PUT", 201)
		asked += len(only(log, func(r request) bool { return r.Kind == supportPath && r.Status != http.StatusUnauthorized }))
		reg.checkPlaced(t, "other/place", carriedNode(t, bundle))
	}
	if puts != 4 || asked != 2 {
		t.Errorf("%d blobs were uploaded, want the indexes and their carriers' configs; asked %d times in two pushes", puts, asked)
	}
	for _, line := range tokens.requests() {
		if line.User != alice.username || line.Status != 200 || len(line.Scopes) > 2 {
			t.Errorf("token request %+v", line)
		}
	}

	layout := filepath.Join(t.TempDir(), "layout")
	client := newNestctl(t, dockerConfig(t, map[string]login{reg.host: alice}, nil))
	client.run(t, "pull", "--plain-http", "--to", "oci-layout:"+layout, reg.ref("other/place", "plain"))
	checkLayout(t, layout, slices.Sorted(slices.Values(append(reg.memberNames("other/place", bundle), reg.ref("other/place", "plain"))))...)
	other := startInside(t, nil)
	other.ctr(t, "image", "pull", "--plain-http", "--user", as, reg.ref("other/place", "hosts"))
	if bad := other.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
}

// TestInsidePushDenied: who may push to the parent and not to a member is told which one, and no tag is set.
func TestInsidePushDenied(t *testing.T) {
	bundle := newApp(t)
	alice := login{"alice", "canary of alice"}
	rights := pulls(repositories("org/app", bundle)...)
	maps.Copy(rights, pushes("other/place", "other/place/web"))
	reg := startRegistry(t, startTokenServer(t, map[string]user{alice.username: {password: alice.password, rights: rights}}))
	a := publishAt(t, reg, bundle)
	daemon := startInside(t, nil)
	as := alice.username + ":" + alice.password
	daemon.ctr(t, "image", "pull", "--plain-http", "--user", as, a.ref)
	to := reg.ref("other/place", "v1")
	daemon.ctr(t, "image", "tag", a.ref, to)
	out, err := daemon.command(t, "image", "push", "--plain-http", "--user", as, to).CombinedOutput()
	if err == nil || !strings.Contains(string(out), reg.host+"/other/place/worker denied") || !strings.Contains(string(out), "ask for the right to push to it") || leaks(string(out)) {
		t.Errorf("%v\n%s", err, out)
	}
	if reg.has(t, "other/place", bundle.content) || reg.has(t, "other/place", carriedNode(t, bundle).content) {
		t.Error("the index is there")
	}
}

// TestInsidePushPlain: of plain images the registry sees what stock containerd does, the first time and the second.
func TestInsidePushPlain(t *testing.T) {
	base := baseLayer(t)
	plain := map[string]node{
		"image":    newImage(t, amd64, "amd64\n", base),
		"index":    newIndex(t, newImage(t, amd64, "1\n", baseLayer(t)), newImage(t, arm64, "2\n", baseLayer(t))),
		"artifact": newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1<<16)),
	}
	alice := login{"alice", "canary of alice"}
	rights := pulls("org/plain")
	for name := range plain {
		maps.Copy(rights, pushes("mounted/"+stock+"/"+name, "mounted/"+inside+"/"+name))
	}
	reg := startRegistry(t, startTokenServer(t, map[string]user{"alice": {password: alice.password, rights: rights}}))
	other := startRegistry(t, reg.tokens)
	logs := map[string][]map[request]int{}
	for _, version := range []string{stock, inside} {
		daemon := startDaemon(t, version, func(string) string { return "" }, criPlugins...)
		for _, name := range slices.Sorted(maps.Keys(plain)) {
			from := reg.ref("org/plain", name)
			if version == stock {
				reg.pushNode(t, "org/plain", name, plain[name])
			}
			daemon.ctr(t, "image", "pull", "--plain-http", "--all-platforms", "--user", "alice:"+alice.password, from)
			for _, at := range []*registry{reg, other} {
				to := at.ref("mounted/"+version+"/"+name, "v1")
				daemon.ctr(t, "image", "tag", from, to)
				for range 2 {
					at.requests()
					daemon.ctr(t, "image", "push", "--plain-http", "--user", "alice:"+alice.password, to)
					answered := only(at.requests(), func(r request) bool { return r.Status != http.StatusUnauthorized })
					logs[name] = append(logs[name], tally(answered, withoutNames))
				}
				at.checkPlaced(t, "mounted/"+version+"/"+name, plain[name])
			}
		}
	}
	for name, log := range logs {
		for i := range len(log) / 2 {
			if !maps.Equal(log[i], log[i+len(log)/2]) {
				t.Errorf("%s, push %d: stock %v\nnested %v", name, i, log[i], log[i+len(log)/2])
			}
		}
	}
}
