package integration

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestFullDisk: when the disk is full a pull says so, and what is in the store is whole; when there is room again the
// next pull succeeds. A layout's goes on where it stopped; containerd drops what it could not write.
func TestFullDisk(t *testing.T) {
	a, blob := publishBig(t, bigSize)
	full := func(t *testing.T, dir string, pull func() (string, error)) []request {
		t.Helper()
		mountTmpfs(t, dir, true, "size=64m")
		a.requests()
		if out, err := pull(); err == nil || !strings.Contains(out, "no space left on device") {
			t.Errorf("%v\n%s", err, out)
		}
		checkBlobs(t, dir)
		if found, err := filepath.Glob(blobPath(dir, blob.desc.Digest)); err != nil || len(found) > 0 {
			t.Errorf("%q, %v", found, err)
		}
		mountTmpfs(t, dir, true, "size=400m")
		a.requests()
		if out, err := pull(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		checkBlobs(t, dir)
		return only(a.requests(), func(r request) bool { return r.Reference == blob.desc.Digest.String() && r.Status < 400 })
	}
	t.Run("containerd behind the gateway", func(t *testing.T) {
		daemon := startContainerd(t)
		daemon.program.stop(t)
		store := filepath.Join(daemon.dir, "root", "io.containerd.content.v1.content")
		mountTmpfs(t, store, false, "size=64m")
		daemon.boot(t)
		g := startGateway(t, a, "node")
		full(t, store, func() (string, error) { return daemon.tryPullHosts(t, transfer, g.certsD, a.ref) })
		if !slices.Contains(daemon.blobs(t), blob.desc.Digest.String()) {
			t.Error("the blob did not arrive")
		}
	})
	t.Run("layout", func(t *testing.T) {
		needs(t, "linux", "root")
		layout := tempDir(t)
		mountTmpfs(t, layout, false, "size=64m")
		client := newNestctl(t, dockerConfig(t, a.logins, nil))
		served := full(t, layout, func() (string, error) {
			out, err := client.command(t, "pull", "--plain-http", "--to", "oci-layout:"+layout, a.ref).CombinedOutput()
			return string(out), err
		})
		if len(served) != 1 || !strings.HasPrefix(served[0].Range, "bytes=") || served[0].Bytes > bigSize*3/4 {
			t.Errorf("the blob was asked for again: %+v", served)
		}
	})
}

// TestLongNames: containerd makes of an annotation the name under which content arrives. One that is longer than its
// database takes is an error or none, and the daemon goes on.
func TestLongNames(t *testing.T) {
	image := newImage(t, amd64, "hello\n", baseLayer(t))
	desc := image.desc
	desc.Annotations = map[string]string{childNamespace: "web", ocispec.AnnotationRefName: strings.Repeat("x", 64<<10)}
	bundle := indexOf(t, desc)
	bundle.members = []member{{"web", image}}
	a := publish(t, bundle)
	g := startGateway(t, a, "node")
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	for name, daemon := range map[string]*containerd{"stock": startContainerd(t), "inside": startInside(t, a.logins)} {
		t.Run(name, func(t *testing.T) {
			out, err := daemon.tryPullHosts(t, transfer, g.certsD, a.ref)
			t.Logf("%v, %d bytes of output", err, len(out))
			if err == nil && !slices.Contains(daemon.blobs(t), image.desc.Digest.String()) {
				t.Error("the member did not arrive")
			}
			if _, err := client.command(t, daemon.pull(a.ref)...).CombinedOutput(); err != nil {
				t.Logf("nestctl: %v", err)
			}
			if daemon.program.ended() {
				t.Fatal("the daemon has ended")
			}
			good := publish(t, newApp(t))
			newNestctl(t, dockerConfig(t, good.logins, nil)).run(t, daemon.pull(good.ref)...)
		})
	}
}

// TestSameBundleAtOnce: pulls of the same bundle into the same namespace, by ctr and by CRI, all succeed, and each blob
// comes once.
func TestSameBundleAtOnce(t *testing.T) {
	a := publish(t, newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	g := startGateway(t, a, "node")
	node := startCRI(t, criOptions{certsD: g.certsD})
	ctr := node.in("k8s.io")
	a.requests()
	var pulls sync.WaitGroup
	for range 2 {
		pulls.Go(func() {
			if out, err := ctr.tryPullHosts(t, transfer, g.certsD, a.ref); err != nil || strings.Contains(out, "locked") {
				t.Errorf("ctr: %v\n%s", err, out)
			}
		})
		pulls.Go(func() {
			if _, err := node.tryPullImage(t, a.ref, nil); err != nil {
				t.Errorf("CRI: %v", err)
			}
		})
	}
	pulls.Wait()
	blobs := only(a.requests(), func(r request) bool { return r.Kind == "blobs" && r.Method == "GET" && r.Status < 400 && r.Authorized })
	for reference, n := range tally(blobs, func(r request) string { return r.Reference }) {
		if n != 1 {
			t.Errorf("%s came %d times", reference, n)
		}
	}
	if bad := ctr.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
}

// TestPlainImpostor: what speaks http in the gateway's place gets no request.
func TestPlainImpostor(t *testing.T) {
	daemon := startContainerd(t)
	reg := startRegistry(t, nil)
	a := publishAt(t, reg, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	asked := make(chan string, 100)
	listener, err := net.Listen("tcp", g.address)
	must(t, err)
	server := &http.Server{ErrorLog: quiet, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.String() })}
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()
	reg.pushNode(t, "org/plain", "v1", newImage(t, amd64, "plain\n", baseLayer(t)))
	daemon.pullHosts(t, transfer, g.certsD, reg.ref("org/plain", "v1"))
	must(t, server.Close())
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if len(asked) > 0 {
		t.Errorf("the impostor was asked for %s", <-asked)
	}
}

// TestGatewayNotReady: a gateway that is about to end says that it is not ready, while a transfer goes on to its end.
func TestGatewayNotReady(t *testing.T) {
	reg := startBigRegistry(t, 64<<20, 64<<20) // a second
	g := startGateway(t, reg.app, "node")
	g.stop(t)
	observed := freeAddress(t)
	writeFile(t, g.config, readText(t, g.config)+fmt.Sprintf("metrics_address = %q\n", observed))
	g.boot(t)
	client, begun, result := g.through(t), make(chan struct{}), make(chan error)
	go func() {
		result <- download(t.Context(), &http.Client{Transport: announcing{client.Transport, begun}}, "https://"+g.address+reg.blob("layer")+"?ns="+reg.host, reg.size)
	}()
	<-begun
	must(t, g.cmd.Process.Signal(syscall.SIGTERM))
	await(t, "the gateway is not ready", 10*time.Second, func() bool {
		status, _, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+observed+"/readyz")
		return err == nil && status == http.StatusServiceUnavailable
	})
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-g.done
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
