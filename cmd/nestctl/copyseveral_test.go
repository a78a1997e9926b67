package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// shops are two bundles, org/shop:v1 and org/bank:v1, with a layer that both have and one of their own.
func shops(t *testing.T, r *registrytest.Registry) (refs []string) {
	t.Helper()
	base := registrytest.TarLayer(map[string]string{"base": "of both"})
	for _, name := range []string{"shop", "bank"} {
		web := r.Image("org/"+name+"/web", base, registrytest.TarLayer(map[string]string{"web": name}))
		r.Tag("org/"+name, "v1", r.Index("org/"+name, registrytest.Member(web, "web")).Digest)
		refs = append(refs, r.Host()+"/org/"+name+":v1")
	}
	return refs
}

// TestCopyAll: all bundles of an archive go to a registry with one command, below a prefix or at its top, with their paths,
// tags and digests. What they share is uploaded once.
func TestCopyAll(t *testing.T) {
	src, dst := pushScene(t), pushScene(t)
	refs := shops(t, src)
	archive := "oci-archive:" + filepath.Join(t.TempDir(), "all.tar")
	if status, said := copyWith(t, append(refs, archive)...); status != 0 {
		t.Fatal(said)
	}
	for _, prefix := range []string{"/far/mirror", ""} {
		dst.ResetLog()
		if status, said := copyWith(t, "--all", archive, dst.Host()+prefix); status != 0 || !strings.Contains(said, dst.Host()+prefix+"/org/bank/web@sha256:") {
			t.Fatal(said)
		}
		for _, ref := range refs {
			copied := dst.Host() + prefix + strings.TrimPrefix(ref, src.Host())
			if status, said := copyWith(t, "--dry-run", copied, "oci-layout:x"); status != 0 {
				t.Error(said)
			}
		}
		uploads := 0
		for _, line := range dst.Log() {
			if line.Kind == registrytest.KindUpload && line.Method == http.MethodPut {
				uploads++
			}
		}
		const blobs = 1 + 2*2 + 2 + 2 // base, two configs and layers, and for each carrier the index and its empty config
		if uploads > blobs {
			t.Errorf("%d uploads for %d blobs: %v", uploads, blobs, dst.Log())
		}
	}
}

// release changes the member web of org/shop, and adds one that has the layer of org/bank's.
func release(r *registrytest.Registry) (ref string) {
	base := registrytest.TarLayer(map[string]string{"base": "of both"})
	web := r.Image("org/shop/web", base, registrytest.TarLayer(map[string]string{"web": "second"}))
	db := r.Image("org/shop/db", base, registrytest.TarLayer(map[string]string{"web": "bank"}))
	r.Tag("org/shop", "v2", r.Index("org/shop", registrytest.Member(web, "web"), registrytest.Member(db, "db")).Digest)
	return r.Host() + "/org/shop:v2"
}

// sinceScene is a registry with two bundles in an archive, and another one to which the archive was copied.
type sinceScene struct {
	src, dst    *registrytest.Registry
	dir, first  string
	shop, later string // references
}

func newSinceScene(t *testing.T) *sinceScene {
	t.Helper()
	s := &sinceScene{src: pushScene(t), dst: pushScene(t), dir: t.TempDir()}
	s.first = s.archive("v1.tar")
	refs := shops(t, s.src)
	s.shop = refs[0]
	mustCopy(t, append(refs, s.first)...)
	mustCopy(t, "--all", s.first, s.dst.Host()+"/far")
	s.later = release(s.src)
	s.src.ResetLog()
	s.dst.ResetLog()
	return s
}

func (s *sinceScene) archive(name string) string { return "oci-archive:" + filepath.Join(s.dir, name) }

func mustCopy(t *testing.T, args ...string) string {
	t.Helper()
	status, said := copyWith(t, args...)
	if status != 0 {
		t.Fatalf("copy %q: %s", args, said)
	}
	return said
}

// asked are the requests for content, without digests, sorted.
func asked(r *registrytest.Registry) (lines []string) {
	for _, q := range r.Log() {
		if q.Kind == registrytest.KindSupport {
			continue
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %d", q.Method, q.Repository, q.Kind, q.Status)))
	}
	slices.Sort(lines)
	return lines
}

// TestCopySince: an archive without what an earlier one has is made with the fewest requests: the root, the manifests that
// are new, and their blobs; only whether a member may have what was another's is asked for. It goes to a registry that has
// the rest, wherever it is there, with the same digests.
func TestCopySince(t *testing.T) {
	s := newSinceScene(t)
	second := s.archive("v2.tar")
	if said := mustCopy(t, "--since", s.first, s.later, second); !strings.Contains(said, "without 4 contents of earlier ones") {
		t.Error(said)
	}
	want := []string{
		"GET org/shop manifest 200", "GET org/shop/web blob 200", "GET org/shop/web blob 200", "GET org/shop/web manifest 200",
		"HEAD org/shop/db blob 200", "HEAD org/shop/db blob 200", "HEAD org/shop/db blob 200", "HEAD org/shop/db manifest 200",
	}
	if got := asked(s.src); !slices.Equal(got, want) {
		t.Errorf("asked for %q", got)
	}
	mustCopy(t, "--all", second, s.dst.Host()+"/far")
	mounts := 0
	for _, q := range s.dst.Log() {
		if q.Kind == registrytest.KindUpload && q.Method == http.MethodPost && q.Status == http.StatusCreated {
			mounts++
		}
	}
	if mounts != 3 { // of db, which was bank's
		t.Errorf("%d mounts: %q", mounts, asked(s.dst))
	}
	mustCopy(t, s.later, "oci-layout:"+filepath.Join(s.dir, "near"))
	mustCopy(t, s.dst.Host()+"/far/org/shop:v2", "oci-layout:"+filepath.Join(s.dir, "far"))
	if near, far := blobsIn(t, s.dir, "near"), blobsIn(t, s.dir, "far"); !slices.Equal(near, far) || len(near) == 0 {
		t.Errorf("copied %q, want %q", far, near)
	}

	// A delta of a delta: what the first one left out counts as there, whichever is named.
	s.src.ResetLog()
	s.src.Tag("org/shop", "v3", s.src.Index("org/shop", registrytest.Member(s.src.Image("org/shop/db", registrytest.TarLayer(map[string]string{"base": "of both"}), registrytest.TarLayer(map[string]string{"web": "bank"})), "db")).Digest)
	third := s.archive("v3.tar")
	mustCopy(t, "--since", strings.TrimPrefix(second, "oci-archive:"), s.src.Host()+"/org/shop:v3", third)
	if got := asked(s.src); !slices.Equal(got, []string{"GET org/shop manifest 200"}) {
		t.Errorf("asked for %q", got)
	}
	mustCopy(t, third, s.dst.Host()+"/far/org/shop:v3")
	status, said := copyWith(t, third, "oci-layout:"+filepath.Join(s.dir, "alone"))
	if status != notFound || !strings.Contains(said, "(in v1.tar); copy v1.tar there first") {
		t.Errorf("exit status %d: %s", status, said)
	}
}

func blobsIn(t *testing.T, dir, layout string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, layout, "blobs", "sha256", "*"))
	clienttest.NoError(t, err)
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	return names
}

// TestCopySinceMissing: what was left out and is not at the destination is named, with the archive that has it, before
// anything is written: in a registry, in a layout, and when only one of several bundles lacks something.
func TestCopySinceMissing(t *testing.T) {
	s := newSinceScene(t)
	second := s.archive("v2.tar")
	mustCopy(t, "--since", s.first, s.later, s.src.Host()+"/org/bank:v1", second)
	empty := pushScene(t)
	for _, to := range []string{empty.Host() + "/far", "oci-layout:" + filepath.Join(s.dir, "out"), s.archive("out.tar")} {
		status, said := copyWith(t, "--all", second, to)
		for _, says := range []string{"v2.tar leaves out content that is not where it goes: ", "org/shop/db@sha256:", "org/shop/web@sha256:", "org/bank/web@sha256:", " (in v1.tar)", "; copy v1.tar there first"} {
			if status != notFound || !strings.Contains(said, says) {
				t.Errorf("%s: exit status %d, not %q: %s", to, status, says, said)
			}
		}
	}
	for _, q := range empty.Log() {
		if q.Method != http.MethodGet && q.Method != http.MethodHead {
			t.Errorf("sent %v", q)
		}
	}
	if named := blobsIn(t, s.dir, "out"); len(named) != 0 {
		t.Errorf("the layout has %q", named)
	}
	// With the first one it is complete.
	layout := "oci-layout:" + filepath.Join(s.dir, "out")
	mustCopy(t, "--all", s.first, layout)
	mustCopy(t, "--all", second, layout)
	mustCopy(t, s.dst.Host()+"/far/org/bank:v1", s.archive("whole.tar"))
	mustCopy(t, "--all", layout, empty.Host()+"/far")
	// A layout to which the rest came later is no delta any more.
	mustCopy(t, "--since", s.first, s.later, "oci-layout:"+filepath.Join(s.dir, "later"))
	mustCopy(t, s.later, "oci-layout:"+filepath.Join(s.dir, "later"))
	mustCopy(t, "oci-layout:"+filepath.Join(s.dir, "later")+":v2", s.archive("again.tar"))
}

// TestCopySinceGivesNobodyMore: that an earlier archive has content of one member does not give it to another, which names
// it and does not have it.
func TestCopySinceGivesNobodyMore(t *testing.T) {
	s := newSinceScene(t)
	private := s.src.PutBlob("org/shop/web", "application/x-test", []byte("private"))
	web := s.src.Artifact("org/shop/web", "application/vnd.test", private)
	s.src.Tag("org/shop", "v2", s.src.Index("org/shop", registrytest.Member(web, "web")).Digest)
	mustCopy(t, s.src.Host()+"/org/shop:v2", s.archive("v2.tar"))
	evil := s.src.Artifact("org/shop/c", "application/vnd.test.evil", private)
	s.src.Tag("org/shop", "v3", s.src.Index("org/shop", registrytest.Member(web, "web"), registrytest.Member(evil, "c")).Digest)
	status, said := copyWith(t, "--since", s.archive("v2.tar"), s.src.Host()+"/org/shop:v3", s.archive("v3.tar"))
	if status != notFound || !strings.Contains(said, "org/shop/c@sha256:") {
		t.Errorf("exit status %d: %s", status, said)
	}
}

// TestCopySinceLock: what a lock lists counts as there, without a request for what is below it.
func TestCopySinceLock(t *testing.T) {
	s := newSinceScene(t)
	var text, stderr bytes.Buffer
	if status := run(t.Context(), []string{"resolve", "--plain-http", "--hosts-dir=", "--format", "lock", s.shop}, &text, &stderr); status != 0 {
		t.Fatal(stderr.String())
	}
	file := filepath.Join(s.dir, "v1.lock")
	clienttest.NoError(t, os.WriteFile(file, text.Bytes(), 0o600))
	s.src.ResetLog()
	second := s.archive("v2.tar")
	mustCopy(t, "--since", file, s.shop, second)
	if got := asked(s.src); !slices.Equal(got, []string{"GET org/shop manifest 200"}) {
		t.Errorf("asked for %q", got)
	}
	mustCopy(t, "--all", second, s.dst.Host()+"/far")
	if status, said := copyWith(t, "--all", second, pushScene(t).Host()+"/far"); status != notFound || !strings.Contains(said, "(in v1.lock); copy v1.lock there first") {
		t.Errorf("exit status %d: %s", status, said)
	}
}
