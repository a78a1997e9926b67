package integration

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	contentstore "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// startInside starts containerd with the plugin in it, and the credentials of an app's repositories. Lines that end the
// plugin's section may follow.
func startInside(t testing.TB, logins map[string]login, more ...string) *containerd {
	t.Helper()
	return startDaemon(t, inside, func(string) string { return pluginSection(t, logins, more...) }, criPlugins...)
}

// pluginSection is the plugin's part of containerd's configuration.
func pluginSection(t testing.TB, logins map[string]login, more ...string) string {
	t.Helper()
	lines := append([]string{`[plugins."io.containerd.internal.v1.nested"]`, fmt.Sprintf("docker_config = %q", dockerConfig(t, logins, nil))}, more...)
	return strings.Join(lines, "\n") + "\n"
}

// hosts writes a certs.d that says how a registry is reached.
func (r *registry) hosts(t testing.TB) string {
	t.Helper()
	certsD := filepath.Join(t.TempDir(), "certs.d")
	writeHosts(t, certsD, r.host, r.hostsOf())
	return certsD
}

// userOfAll gives one user the rights for all repositories of a bundle, and nobody else any.
func userOfAll(bundle node, l login) map[string]user {
	return map[string]user{l.username: {password: l.password, rights: pulls(repositories("org/app", bundle)...)}}
}

// TestInsideSettings: what the client says about registries counts for the members, too.
func TestInsideSettings(t *testing.T) {
	alice := login{"alice", "canary of alice"}
	bundle := newApp(t)
	a := publishAt(t, startRegistry(t, startTokenServer(t, userOfAll(bundle, alice))), bundle)
	daemon := startInside(t, nil)
	for name, args := range map[string][]string{
		"hosts":         {"--hosts-dir", a.hosts(t)},
		"scheme":        {"--plain-http"},
		"all platforms": {"--plain-http", "--all-platforms"},
		"platform":      {"--plain-http", "--platform", "linux/arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			in := daemon.in("test" + strings.ReplaceAll(name, " ", ""))
			in.ctr(t, slices.Concat([]string{"image", "pull", "--user", alice.username + ":" + alice.password}, args, []string{a.ref})...)
			images := slices.Sorted(slices.Values(in.images(t)))
			want := a.records()
			if name == "platform" { // the worker is for another
				want = slices.DeleteFunc(want, func(s string) bool { return strings.Contains(s, "/worker@") })
			}
			if !slices.Equal(images, want) {
				t.Errorf("images %q, want %q", images, want)
			}
			if bad := in.incomplete(t); bad != nil && name != "platform" { // which `images check` does not know
				t.Errorf("images check: %q", bad)
			}
		})
	}
	for _, line := range a.tokens.requests() {
		if line.User != alice.username || line.Status != 200 {
			t.Errorf("token request %+v", line)
		}
	}
	out, err := daemon.in("wrong").command(t, "image", "pull", "--plain-http", "--user", "alice:wrong", a.ref).CombinedOutput()
	if err == nil || !strings.Contains(string(out), a.host+"/org/app denied") || !strings.Contains(string(out), "credential of the client that asked for the pull") || leaks(string(out)) {
		t.Errorf("with a wrong password: %v\n%s", err, out)
	}
}

// TestInsideDebug: the client sees the requests of members when it asks to.
func TestInsideDebug(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	daemon := startInside(t, nil)
	out, err := daemon.command(t, "image", "pull", "--plain-http", "--http-dump", "--http-trace", a.ref).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/v2/org/app/worker/manifests/") {
		t.Errorf("the client does not see the requests of a member: %v\n%s", err, out)
	}
}

// TestInsidePlain: of plain images the registry serves what stock containerd asks for, the first time and the second.
// What it refuses is less: stock asks for a token again when it has resolved.
func TestInsidePlain(t *testing.T) {
	base := baseLayer(t)
	image := newImage(t, amd64, "amd64\n", base)
	plain := map[string]node{
		"image":    image,
		"index":    newIndex(t, image, newImage(t, arm64, "arm64\n", base)),
		"artifact": newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1<<16)),
	}
	alice := login{"alice", "canary of alice"}
	reg := startRegistry(t, startTokenServer(t, map[string]user{"alice": {password: alice.password, rights: pulls("org/plain")}}))
	for name, n := range plain {
		reg.pushNode(t, "org/plain", name, n)
	}
	for _, with := range []puller{transfer, local} {
		logs := map[string][]map[request]int{}
		for _, version := range []string{stock, inside} {
			daemon := startDaemon(t, version, func(string) string { return "" }, criPlugins...)
			for _, name := range slices.Sorted(maps.Keys(plain)) {
				for range 2 {
					reg.requests()
					daemon.pullHosts(t, with, reg.hosts(t), reg.ref("org/plain", name), "--user", "alice:"+alice.password)
					answered := only(reg.requests(), func(r request) bool { return r.Status != http.StatusUnauthorized })
					logs[name] = append(logs[name], tally(answered, func(r request) request { return r }))
				}
			}
		}
		for name, log := range logs {
			if !maps.Equal(log[0], log[2]) || !maps.Equal(log[1], log[3]) {
				t.Errorf("%s, %s: stock %v then %v\nnested %v then %v", with, name, log[0], log[1], log[2], log[3])
			}
		}
	}
}

// TestInsideLocal: ctr's own pull is what it is with stock containerd, whose daemon has no part in it.
func TestInsideLocal(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	if out, err := startInside(t, nil).tryPullHosts(t, local, a.hosts(t), a.ref); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestInsideCarrier: from a registry that insists on the members' presence, the index comes out of its carrier.
func TestInsideCarrier(t *testing.T) {
	bundle := newApp(t)
	carrier := newCarrier(t, bundle)
	users := userPerRepository(repositories("org/app", carrier)...)
	a := publishAt(t, registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, startTokenServer(t, users)), carrier)
	daemon := startInside(t, a.logins)
	daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
	if !strings.Contains(daemon.ctr(t, "image", "ls", "name=="+a.ref), bundle.desc.Digest.String()) {
		t.Error("the record is not the index's")
	}
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
}

// TestInsideAllow: indexes that are not allowed are refused by name, and plain images are not concerned.
func TestInsideAllow(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	a.pushNode(t, "org/app", "plain", newImage(t, amd64, "plain\n", baseLayer(t)))
	daemon := startInside(t, nil, `allow = ["registry.example.com/**"]`)
	out, err := daemon.command(t, "image", "pull", "--plain-http", a.ref).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no pattern of allow matches it") {
		t.Errorf("%v\n%s", err, out)
	}
	daemon.ctr(t, "image", "pull", "--plain-http", a.registry.ref("org/app", "plain"))
}

// TestInsideMisconfigured: a wrong section stops the plugin, with what is wrong, and plain pulls go on.
func TestInsideMisconfigured(t *testing.T) {
	reg := startRegistry(t, nil)
	reg.pushNode(t, "org/plain", "v1", newImage(t, amd64, "plain\n", baseLayer(t)))
	daemon := startInside(t, nil, `member = "all"`, "max_depth = 16")
	daemon.ctr(t, "image", "pull", "--plain-http", reg.ref("org/plain", "v1"))
	state := daemon.ctr(t, "plugins", "ls", "-d", "id==nested")
	for _, want := range []string{"unknown key member; did you mean members?", "max_depth is not a key any more; remove it"} {
		if !strings.Contains(state, want) || !strings.Contains(readText(t, daemon.program.log), want) {
			t.Errorf("no %q in\n%s", want, state)
		}
	}
}

// TestInsideAllOrNothing: of a bundle whose last member is missing nothing is recorded, and nothing stays.
func TestInsideAllOrNothing(t *testing.T) {
	base := baseLayer(t)
	var members []member
	for i := range 7 {
		members = append(members, member{fmt.Sprintf("m%d", i), newImage(t, amd64, fmt.Sprintf("%d\n", i), base)})
	}
	bundle := newBundle(t, members...)
	reg := startRegistry(t, nil)
	for _, m := range members[:6] {
		reg.pushNode(t, "org/app/"+m.namespace, "", m.node)
	}
	reg.pushManifest(t, "org/app", "v1", bundle.content)
	daemon := startInside(t, nil)
	out, err := daemon.command(t, "image", "pull", "--plain-http", reg.ref("org/app", "v1")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "child "+reg.host+"/org/app/m6@"+members[6].node.desc.Digest.String()[:19]) {
		t.Errorf("%v\n%s", err, out)
	}
	if images := daemon.images(t); len(images) > 0 {
		t.Errorf("images %q", images)
	}
	await(t, "what has arrived is collected", 30*time.Second, func() bool {
		daemon.collect(t)
		return len(daemon.blobs(t)) == 0
	})
}

// TestInsideVerifiers: containerd's image verifiers judge the root, then each member, by the name of its repository.
func TestInsideVerifiers(t *testing.T) {
	for _, verify := range []string{"all", "root"} {
		t.Run(verify, func(t *testing.T) {
			a := publishAt(t, startRegistry(t, nil), newApp(t))
			daemon := startInside(t, nil, fmt.Sprintf("verify = %q", verify))
			log := filepath.Join(daemon.dir, "verified")
			verifier := filepath.Join(daemon.dir, "verifiers", "verifier")
			script := func(refuse string) {
				writeFile(t, verifier, fmt.Sprintf("#!/bin/sh\necho \"$2\" >>%s\ncase $2 in %s) echo not this; exit 1;; esac\n", log, refuse))
				must(t, os.Chmod(verifier, 0o700))
			}
			script("*/org/app/worker*")
			out, err := daemon.command(t, "image", "pull", "--plain-http", a.ref).CombinedOutput()
			asked := strings.Fields(readText(t, log))
			if asked[0] != a.ref {
				t.Errorf("the root was not judged first: %q", asked)
			}
			if verify == "root" {
				if err != nil || len(asked) != 1 {
					t.Errorf("%v, asked %q\n%s", err, asked, out)
				}
				return
			}
			if err == nil || !strings.Contains(string(out), "not this") || len(daemon.images(t)) > 0 {
				t.Errorf("a member was refused: %v, images %q\n%s", err, daemon.images(t), out)
			}
			must(t, os.Remove(log))
			script("nothing")
			daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
			if asked := slices.Sorted(slices.Values(strings.Fields(readText(t, log)))); !slices.Equal(asked, a.records()) {
				t.Errorf("asked %q, want %q", asked, a.records())
			}
		})
	}
}

// TestInsideLayersOnly: index and manifest are there, the layers are not: they come from the member's repository.
func TestInsideLayersOnly(t *testing.T) {
	a := publish(t, newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	daemon := startInside(t, a.logins)
	c := daemon.client(t)
	ctx, release, err := c.WithLease(namespaces.WithNamespace(t.Context(), daemon.namespace))
	must(t, err)
	for _, n := range []node{a.bundle, a.bundle.members[0].node} {
		must(t, contentstore.WriteBlob(ctx, c.ContentStore(), n.desc.Digest.String(), bytes.NewReader(n.data), n.desc))
	}
	daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
	must(t, release(ctx))
	if got := only(a.requests(), func(r request) bool { return r.Kind == "manifests" && r.Method == "GET" }); len(got) > 0 {
		t.Errorf("what is there was asked for: %+v", got)
	}
	if printed := daemon.runImage(t, a.memberNames("org/app", a.bundle)[0]); printed != "web\n" {
		t.Errorf("printed %q", printed)
	}
}

// TestInsideKilled: after kill -9 in the middle of a layer the next pull asks for the rest only.
func TestInsideKilled(t *testing.T) {
	a, blob := publishBig(t, bigSize)
	daemon := startInside(t, a.logins)
	halfway := a.stallAt(blob.desc.Digest.String(), bigSize/2)
	first := daemon.command(t, "image", "pull", "--plain-http", a.ref)
	must(t, first.Start())
	<-halfway.reached
	store := filepath.Join(daemon.dir, "root", "io.containerd.content.v1.content")
	await(t, "half of the blob is on disk", 20*time.Second, func() bool { return diskUse(store) > bigSize/3 })
	must(t, daemon.program.cmd.Process.Kill())
	<-daemon.program.done
	if err := first.Wait(); err == nil {
		t.Error("a pull whose daemon was killed ended well")
	}
	<-halfway.logged
	a.requests()
	daemon.boot(t)
	if images := daemon.images(t); len(images) > 0 {
		t.Errorf("images %q", images)
	}
	daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
	served := only(a.requests(), func(r request) bool { return r.Reference == blob.desc.Digest.String() && r.Status < 400 })
	if len(served) != 1 || !strings.HasPrefix(served[0].Range, "bytes=") || served[0].Bytes > bigSize*2/3 {
		t.Errorf("the blob was asked for again: %+v", served)
	}
}

// TestInsideParallel: containerd's settings for layers in several parts reach the members.
func TestInsideParallel(t *testing.T) {
	a, blob := publishBig(t, bigSize)
	daemon := startInside(t, a.logins, `[plugins."io.containerd.transfer.v1.local"]`, "max_concurrent_downloads = 4", "concurrent_layer_fetch_buffer = 4194304")
	daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
	parts := only(a.requests(), func(r request) bool {
		return r.Reference == blob.desc.Digest.String() && r.Status == http.StatusPartialContent
	})
	if len(parts) < 2 {
		t.Errorf("the layer came in %d parts", len(parts))
	}
}

// TestInsideRunning: a container of a member goes on when its bundle is removed.
func TestInsideRunning(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	daemon := startInside(t, nil)
	daemon.ctr(t, "image", "pull", "--plain-http", a.ref)
	web := a.memberNames("org/app", a.bundle)[0]
	daemon.ctr(t, "containers", "create", web, "kept")
	daemon.ctr(t, "images", "rm", "--sync", a.ref)
	daemon.collect(t)
	if out := daemon.ctr(t, "task", "start", "--fifo-dir", daemon.dir, "kept"); out != "web\n" {
		t.Errorf("printed %q", out)
	}
	daemon.ctr(t, "containers", "rm", "kept")
}

// TestInsideVersion: both versions, and the section in the configuration that containerd shows.
func TestInsideVersion(t *testing.T) {
	usePrograms(t, inside)
	needs(t, "containerd-nested")
	if out := runCommand(t, exec.CommandContext(t.Context(), "containerd-nested", "--version")); !strings.Contains(out, "containerd/v2 "+insideVersion()+".") || !strings.Contains(out, "nested ") {
		t.Error(out)
	}
	config := writeFile(t, filepath.Join(t.TempDir(), "config.toml"), "version = 3\n[plugins.\"io.containerd.internal.v1.nested\"]\nmembers = \"platform\"\n")
	out := runCommand(t, exec.CommandContext(t.Context(), "containerd-nested", "--config", config, "config", "dump"))
	for _, want := range []string{"members = 'platform'", "member_records = ['!k8s.io']", "verify = 'all'"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in the configuration", want)
		}
	}
}
