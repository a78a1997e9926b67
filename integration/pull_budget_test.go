package integration

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const members = 20

// newFleet makes a bundle of images with three layers each, one of them shared by all.
func newFleet(t testing.TB) node {
	t.Helper()
	shared := newLayer(t, "shared", []byte("shared"))
	var fleet []member
	for i := range members {
		name := fmt.Sprintf("m%02d", i)
		image := newImage(t, amd64, name, shared, newLayer(t, "own", []byte(name)))
		fleet = append(fleet, member{name, image})
	}
	return newBundle(t, fleet...)
}

// TestRequestBudget: one GET for each distinct manifest and blob, one token request for each
// repository, one challenge, no HEAD, one run of the helper.
func TestRequestBudget(t *testing.T) {
	t.Run("layout", func(t *testing.T) {
		layout := filepath.Join(t.TempDir(), "layout")
		checkBudget(t, func(ref string) []string {
			return []string{"pull", "--plain-http", "--format", "json", "--to", "oci-layout:" + layout, ref}
		})
	})
	t.Run("containerd", func(t *testing.T) {
		daemon := startContainerd(t)
		checkBudget(t, func(ref string) []string { return daemon.pull(ref, "--format", "json") })
	})
}

func checkBudget(t *testing.T, args func(ref string) []string) {
	t.Helper()
	store := newPassStore(t)
	bundle := newFleet(t)
	one := user{password: "canary", rights: pulls(repositories("org/app", bundle)...)}
	a := publishAt(t, startRegistry(t, startTokenServer(t, map[string]user{"dave": one})), bundle)
	store.store(t, a.host, "dave", one.password)

	client := newNestctl(t, dockerConfig(t, nil, map[string]any{"credsStore": "pass"}), store.env...)
	said := client.run(t, args(a.ref)...).summary(t).Requests
	log := a.requests()
	asked := a.tokens.requests()

	want := summary{}.Requests
	want.Manifests, want.Blobs = members+1, 3*members+1 // a configuration and two layers of their own, and the shared layer
	want.Tokens, want.Challenges, want.HelperRuns = members+1, 1, 1
	if said != want {
		t.Errorf("nestctl says %+v, want %+v", said, want)
	}
	checkLog(t, log, want.Manifests, want.Blobs)
	scopes := map[string]int{}
	for _, line := range asked {
		scopes[fmt.Sprint(line.Scopes)]++
	}
	if len(asked) != want.Tokens || len(scopes) != want.Tokens {
		t.Errorf("%d token requests for %d scopes, want one for each of %d: %v", len(asked), len(scopes), want.Tokens, scopes)
	}
	if t.Failed() {
		showLog(t, log)
	}
}

// checkLog checks a registry's log for one GET of each and one challenge.
func checkLog(t testing.TB, log []request, manifests, blobs int) {
	t.Helper()
	served := only(log, func(r request) bool { return r.Status == http.StatusOK && r.Kind != "base" })
	kinds := tally(served, func(r request) string { return r.Method + " " + r.Kind })
	if kinds["GET manifests"] != manifests || kinds["GET blobs"] != blobs || len(kinds) != 2 {
		t.Errorf("requests by kind: %v", kinds)
	}
	for reference, n := range tally(served, func(r request) string { return r.Reference }) {
		if n != 1 {
			t.Errorf("%s was asked for %d times", reference, n)
		}
	}
	if statuses := tally(log, func(r request) int { return r.Status }); statuses[401] != 1 || statuses[200] != len(log)-1 {
		t.Errorf("requests by status: %v", statuses)
	}
	if len(log) > manifests+blobs+2 {
		t.Errorf("%d requests", len(log))
	}
}

// bigBlob is a blob that is nowhere in memory: a seeded stream.
type bigBlob struct {
	desc ocispec.Descriptor
	seed [32]byte
}

func newBigBlob(t testing.TB, mediaType string, size int64) bigBlob {
	t.Helper()
	blob := bigBlob{seed: sha256.Sum256([]byte(t.Name() + t.TempDir()))}
	hashed, err := digest.FromReader(io.LimitReader(rand.NewChaCha8(blob.seed), size))
	must(t, err)
	blob.desc = ocispec.Descriptor{MediaType: mediaType, Digest: hashed, Size: size}
	return blob
}

func (b bigBlob) reader() io.Reader {
	return io.LimitReader(rand.NewChaCha8(b.seed), b.desc.Size)
}

// publishBig publishes a bundle of one artifact with a big blob. The registry has everything but the
// blob, and everybody may pull.
func publishBig(t testing.TB, size int64) (*app, bigBlob) {
	t.Helper()
	blob := newBigBlob(t, "application/x-rpm", size)
	artifact := newArtifact(t, "application/vnd.test.rpm", content{desc: blob.desc})
	artifact.blobs = artifact.blobs[1:] // the registry gets the big one from its reader
	a := &app{registry: startRegistry(t, startTokenServer(t, userPerRepository("org/app", "org/app/big"))), bundle: newBundle(t, member{"big", artifact})}
	a.pushBlob(t, "org/app/big", blob.desc, blob.reader())
	return publishAt(t, a.registry, a.bundle), blob
}

// TestMemory: it does not grow with the size of a layer.
func TestMemory(t *testing.T) {
	needs(t, "all", "linux")
	a, _ := publishBig(t, 1<<30)
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	daemon := startContainerd(t)
	layout := filepath.Join(t.TempDir(), "layout")
	for target, args := range map[string][]string{
		"layout":     {"pull", "--plain-http", "--to", "oci-layout:" + layout, a.ref},
		"containerd": daemon.pull(a.ref),
	} {
		cmd, done := client.command(t, args...), make(chan struct{})
		must(t, cmd.Start())
		go func() {
			defer close(done)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}()
		peak := peakMemory(cmd.Process.Pid, done)
		t.Logf("%s: peak of %d MiB", target, peak>>20)
		if peak == 0 || peak > 100<<20 {
			t.Errorf("%s: peak of %d MiB, want less than 100", target, peak>>20)
		}
	}
}
