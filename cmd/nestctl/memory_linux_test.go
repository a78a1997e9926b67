package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestMemory: what a pull takes does not grow with the size of a layer. One
// of 1 GiB is pulled in less than 100 MiB.
//
// The peak is read from /proc while the program still runs, when the layer is
// in the layout: the rusage of a child begins with the peak of its parent,
// which is this test.
func TestMemory(t *testing.T) {
	const limit = 100 << 20
	ownCredentials(t)
	dir := filepath.Join(t.TempDir(), "out")
	r, stored, measured := publishHuge(t, dir)
	defer r.Close()
	var out bytes.Buffer
	cmd := exec.Command(build(t), "pull", "-q", "--plain-http", "--hosts-dir=", "--to", "oci-layout:"+dir, r.Host()+"/org/huge:v1")
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		t.Fatalf("%v: %s", err, &out)
	case <-stored:
	}
	peak, err := peakMemory(cmd.Process.Pid)
	close(measured)
	if err = errors.Join(err, <-ended); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	t.Logf("peak %d KiB", peak>>10)
	if peak == 0 || peak > limit {
		t.Errorf("the pull took %d KiB, want %d at most", peak>>10, limit>>10)
	}
}

// publishHuge publishes org/huge:v1 with a layer of 1 GiB, and a small blob
// that is answered when that is in the layout: stored is closed then, and the
// answer waits for measured.
func publishHuge(t *testing.T, dir string) (r *registrytest.Registry, stored, measured chan struct{}) {
	const size = 1 << 30
	sum, err := digest.FromReader(pattern(size))
	if err != nil {
		t.Fatal(err)
	}
	r = registrytest.New()
	huge := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sum, Size: size}
	last := r.PutBlob("org/huge/one", "text/plain", []byte("the last blob"))
	r.Tag("org/huge", "v1", r.Index("org/huge", registrytest.Member(r.Artifact("org/huge/one", "text/plain", huge, last), "one")).Digest)
	r.Intercept(serve(sum, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = io.Copy(w, pattern(size)) // the client sees what is missing
		return true
	}))
	stored, measured = make(chan struct{}), make(chan struct{})
	r.Intercept(serve(last.Digest, func(_ http.ResponseWriter, req *http.Request) bool {
		if waitFor(req.Context(), filepath.Join(dir, "blobs", "sha256", sum.Encoded())) != nil {
			return false // the client went away
		}
		close(stored)
		<-measured
		return false
	}))
	return r, stored, measured
}

// build builds nestctl as it is shipped, without -race.
func build(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "nestctl")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// serve is an interceptor for one blob.
func serve(d digest.Digest, f registrytest.Interceptor) registrytest.Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		return registrytest.Describe(req).Reference == d.String() && f(w, req)
	}
}

// pattern is so many bytes that are stored nowhere.
func pattern(size int64) io.Reader {
	return io.LimitReader(&repeated{block: bytes.Repeat([]byte("nested"), 10_000)}, size)
}

// repeated is a block again and again.
type repeated struct {
	block []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

// waitFor waits until a file is there.
func waitFor(ctx context.Context, file string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// peakMemory is the most that a process had in memory so far.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(peak), 10, 64)
	return kib << 10, err
}
