package integration

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestGatewayPulls: stock containerd pulls a bundle whole, with a user for each repository, and runs a member.
func TestGatewayPulls(t *testing.T) {
	for _, with := range []puller{transfer, local} {
		t.Run(string(with), func(t *testing.T) {
			daemon := startContainerd(t)
			a := publish(t, newApp(t))
			g := startGateway(t, a, "node")
			daemon.pullHosts(t, with, g.certsD, a.ref)
			if bad := daemon.incomplete(t); bad != nil {
				t.Errorf("images check: %q", bad)
			}
			a.checkTokens(t)
			for _, line := range a.requests() {
				if line.Repository != "" && line.Repository != "org/app" && !strings.HasPrefix(line.Repository, "org/app/") {
					t.Errorf("outside the parent's tree: %+v", line)
				}
			}
		})
	}
}

// TestGatewayCRI: an index whose members are the platforms of one image runs as a pod by its root's name.
func TestGatewayCRI(t *testing.T) {
	base := baseLayer(t)
	a := publish(t, newBundle(t, member{"amd64", newImage(t, amd64, "a nested pod\n", base)}, member{"arm64", newImage(t, arm64, "another\n", base)}))
	g := startGateway(t, a, "node")
	node := startCRI(t, criOptions{certsD: g.certsD})
	node.pullImage(t, a.ref, nil)
	if node.imageStatus(t, a.ref) == nil {
		t.Error("CRI does not know the image")
	}
	if images := node.listImages(t); len(images) != 1 {
		t.Errorf("CRI lists %v", images)
	}
	if got := node.runPod(t, a.ref); got != "a nested pod\n" {
		t.Errorf("the pod printed %q", got)
	}
	node.removeImage(t, a.ref)
	if node.imageStatus(t, a.ref) != nil {
		t.Error("the image is there after its removal")
	}
}

// TestGatewayCarrier: from a registry that insists on the members' presence, the index comes out of its carrier.
func TestGatewayCarrier(t *testing.T) {
	bundle := newApp(t)
	carrier := newCarrier(t, bundle)
	users := userPerRepository(repositories("org/app", carrier)...)
	a := publishAt(t, registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, startTokenServer(t, users)), carrier)
	daemon := startContainerd(t)
	g := startGateway(t, a, "node")
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
	if !slices.Contains(daemon.blobs(t), bundle.desc.Digest.String()) {
		t.Error("the index did not arrive")
	}
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
}

// TestGatewayStopped: without its gateway, or with something else in its place, a node pulls plain images from the
// registry, at once; nested ones it cannot, and says where it was refused. What nestctl doctor then says is in TestGatewaySystemd.
func TestGatewayStopped(t *testing.T) {
	daemon := startContainerd(t)
	reg := startRegistry(t, nil)
	a := publishAt(t, reg, newApp(t))
	g := startGateway(t, a, "node")
	plain := func() time.Duration {
		t.Helper()
		tag := strings.ToLower(rand.Text())
		reg.pushNode(t, "org/plain", tag, newImage(t, amd64, tag, baseLayer(t)))
		began := time.Now()
		daemon.pullHosts(t, transfer, g.certsD, reg.ref("org/plain", tag))
		return time.Since(began)
	}
	with := plain()
	g.stop(t)
	if without := plain(); without > with+2*time.Second {
		t.Errorf("a plain pull took %s, and %s without the gateway", with, without)
	}
	asked := impostor(t, g.address)
	if without := plain(); without > with+2*time.Second {
		t.Errorf("a plain pull took %s, and %s with an impostor in the gateway's place", with, without)
	}
	if n := asked(); n > 0 {
		t.Errorf("the impostor was asked %d times", n)
	}
	out, err := daemon.tryPullHosts(t, transfer, g.certsD, a.ref)
	// containerd's own text: the gateway's address, the parent, and a member's digest
	if err == nil || !slices.ContainsFunc(a.bundle.members, func(m member) bool {
		return strings.Contains(out, g.address+"/v2/org/app/manifests/"+m.node.desc.Digest.String())
	}) {
		t.Errorf("pull of a bundle: %v\n%s", err, out)
	}
	g.boot(t)
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
}

// impostor listens in the gateway's place with a certificate of its own, until the number of requests is asked for.
func impostor(t *testing.T, address string) (requests func() int64) {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	listener, err := net.Listen("tcp", address)
	must(t, err)
	must(t, server.Listener.Close())
	server.Listener, server.Config.ErrorLog = listener, quiet
	server.StartTLS()
	return func() int64 { server.Close(); return n.Load() }
}

// TestGatewayPlain: for a plain image the registry sees, through the gateway, what it sees without.
func TestGatewayPlain(t *testing.T) {
	for _, with := range []puller{transfer, local} {
		t.Run(string(with), func(t *testing.T) {
			reg := startRegistry(t, nil)
			base := baseLayer(t)
			index := newIndex(t, newImage(t, amd64, "amd64\n", base), newImage(t, arm64, "arm64\n", base))
			reg.pushNode(t, "org/plain", "v1", index)
			g := startGateway(t, publishAt(t, reg, newApp(t)), "node")
			direct := filepath.Join(t.TempDir(), "certs.d")
			writeHosts(t, direct, reg.host, reg.hostsOf())
			reg.requests()
			var logs []map[request]int
			for _, certsD := range []string{direct, g.certsD} {
				startContainerd(t).pullHosts(t, with, certsD, reg.ref("org/plain", "v1"))
				logs = append(logs, tally(reg.requests(), func(r request) request { return r }))
			}
			if !maps.Equal(logs[0], logs[1]) {
				t.Errorf("without the gateway: %v\nwith it: %v", logs[0], logs[1])
			}
		})
	}
}

// TestGatewayKilled: after kill -9 in the middle of a layer, and a restart, the pull or the next one succeeds. containerd
// gives up the first one, with what had arrived of it, when it asks before the gateway is back: the registry itself does
// not have the layer in that repository.
func TestGatewayKilled(t *testing.T) {
	log, blob := pullAgainAfter(t, func(g *gatewayProcess, _ *containerd) {
		must(t, g.cmd.Process.Kill())
		<-g.done
		g.boot(t)
	})
	served := only(log, func(r request) bool { return r.Reference == blob && r.Status < 400 })
	if len(served) != 1 {
		t.Errorf("the blob was served %d times: %+v", len(served), served)
	}
	if searched := only(log, func(r request) bool { return r.Kind == "tags" }); len(searched) > 0 {
		t.Errorf("the gateway has forgotten where the blob is: %+v", searched)
	}
}

// TestContainerdKilled: after kill -9 of containerd in the middle of a layer, the next pull goes on where it stopped, in
// the child's repository: containerd asks for what it lacks, and the gateway knows where that is.
func TestContainerdKilled(t *testing.T) {
	log, blob := pullAgainAfter(t, func(_ *gatewayProcess, daemon *containerd) {
		must(t, daemon.program.cmd.Process.Kill())
		<-daemon.program.done
		daemon.boot(t)
	})
	served := only(log, func(r request) bool { return r.Reference == blob && r.Status < 400 })
	if len(served) != 1 || !strings.HasPrefix(served[0].Range, "bytes=") || served[0].Bytes > bigSize*2/3 {
		t.Errorf("the blob was asked for again: %+v", served)
	}
}

const bigSize = 200 << 20

// pullAgainAfter lets something happen when half of a member's blob has arrived, pulls again, and returns what the
// registry was asked then, with the blob's digest.
func pullAgainAfter(t *testing.T, happen func(*gatewayProcess, *containerd)) (log []request, reference string) {
	t.Helper()
	daemon := startContainerd(t)
	a, blob := publishBig(t, bigSize)
	g := startGateway(t, a, "node")
	reference = blob.desc.Digest.String()
	halfway := a.stallAt(reference, bigSize/2)
	pull := daemon.command(t, "image", "pull", "--hosts-dir", g.certsD, a.ref)
	must(t, pull.Start())
	<-halfway.reached
	store := filepath.Join(daemon.dir, "root", "io.containerd.content.v1.content")
	await(t, "half of the blob is on disk", 20*time.Second, func() bool { return diskUse(store) > bigSize/3 })
	happen(g, daemon)
	<-halfway.logged
	a.requests()
	_ = pull.Wait() // whether it has failed, or has asked again and has all, is no matter
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
	if !slices.Contains(daemon.blobs(t), reference) {
		t.Error("the blob did not arrive")
	}
	return a.requests(), reference
}

// TestGatewayStrangers: without a certificate of the node nobody gets an answer.
func TestGatewayStrangers(t *testing.T) {
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	other := startGateway(t, a, "node") // whose node is another
	pair, err := tls.LoadX509KeyPair(other.client, other.client)
	must(t, err)
	a.requests()
	for name, config := range map[string]*tls.Config{
		"no certificate":      {InsecureSkipVerify: true},
		"another certificate": {InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}},
	} {
		transport := &http.Transport{TLSClientConfig: config}
		if status, body, err := getOver(t, transport, "https://"+g.address+"/v2/"); err == nil {
			t.Errorf("%s: %d %s", name, status, body)
		}
		transport.CloseIdleConnections()
	}
	if status, _, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+g.address+"/v2/"); err == nil && status != http.StatusBadRequest {
		t.Errorf("over plain http: %d", status)
	}
	if log := a.requests(); len(log) > 0 {
		t.Errorf("the registry was asked: %+v", log)
	}
	for _, path := range []string{g.client, filepath.Join(g.root, "etc/nested/tls/gateway.pem")} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s, with a key in it, has mode %v", path, info.Mode())
		}
	}
}

// TestGatewayReload: a changed configuration is used after SIGHUP, a broken one is not.
func TestGatewayReload(t *testing.T) {
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	path := "/v2/org/app/manifests/v1?ns=" + a.host
	expect := func(want int) {
		t.Helper()
		await(t, fmt.Sprintf("status %d", want), 10*time.Second, func() bool {
			status, _, err := g.get(t, path)
			return err == nil && status == want
		})
	}
	expect(http.StatusOK)
	text := readText(t, g.config)
	writeFile(t, g.config, text+fmt.Sprintf("allow = [%q]\n", a.host+"/other/**"))
	must(t, g.cmd.Process.Signal(syscall.SIGHUP))
	expect(http.StatusForbidden)
	writeFile(t, g.config, text+"alow = []\n")
	must(t, g.cmd.Process.Signal(syscall.SIGHUP))
	await(t, "the refusal is logged", 10*time.Second, func() bool { return strings.Contains(readText(t, g.log), "stays as it was") })
	expect(http.StatusForbidden)
}

func readText(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// TestGatewayAtOnce: 50 pulls at once, by two containerds, come to an end, and cost one token for each repository.
func TestGatewayAtOnce(t *testing.T) {
	daemons := []*containerd{startContainerd(t), startContainerd(t)}
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	var pulls sync.WaitGroup
	for i := range 50 {
		daemon := daemons[i%2].in(fmt.Sprintf("test%d", i))
		pulls.Go(func() {
			if out, err := daemon.tryPullHosts(t, transfer, g.certsD, a.ref); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	pulls.Wait()
	a.checkTokens(t)
}

// TestGatewayRotation: credentials that were changed in the Docker configuration are used for the next pull.
func TestGatewayRotation(t *testing.T) {
	a := publish(t, newApp(t))
	logins := a.logins
	a.logins = nil
	g := startGateway(t, a, "node")
	daemon := startContainerd(t)
	if out, err := daemon.tryPullHosts(t, transfer, g.certsD, a.ref); err == nil || leaks(out) {
		t.Errorf("a pull without credentials: %v\n%s", err, out)
	}
	must(t, os.Rename(filepath.Join(dockerConfig(t, logins, nil), "config.json"), filepath.Join(g.docker, "config.json")))
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
	if leaks(readText(t, g.log)) {
		t.Error("the gateway's log has a secret in it")
	}
}

// TestGatewayPod: CRI gives a pod's pull secret to the gateway, which uses it for all of the bundle; a pod without
// rights gets nothing, whoever pulled before.
func TestGatewayPod(t *testing.T) {
	bundle := newBundle(t, member{"amd64", newImage(t, amd64, "a nested pod\n", baseLayer(t))})
	users := map[string]user{
		"all":      {password: "canary-all", rights: pulls("org/app", "org/app/amd64")},
		"identity": {identity: "canary-identity", rights: pulls("org/app", "org/app/amd64")},
		"none":     {password: "canary-none"},
	}
	a := publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle)
	g := startGateway(t, a, "pod")
	node := startCRI(t, criOptions{certsD: g.certsD})
	other := startCRI(t, criOptions{certsD: g.certsD})
	node.pullImage(t, a.ref, login{"all", "canary-all"}.auth())
	for name, l := range map[string]login{"no rights": {"none", "canary-none"}, "wrong password": {"all", "canary-none"}} {
		if id, err := other.tryPullImage(t, a.ref, l.auth()); err == nil {
			t.Errorf("%s: got %s", name, id)
		}
	}
	if id, err := other.tryPullImage(t, a.ref, nil); err == nil {
		t.Errorf("no secret: got %s", id)
	}
	other.pullImage(t, a.ref, login{"<token>", "canary-identity"}.auth())
	if got := node.runPod(t, a.ref); got != "a nested pod\n" {
		t.Errorf("the pod printed %q", got)
	}
	if leaks(readText(t, g.log)) {
		t.Error("the gateway's log has a secret in it")
	}
}
