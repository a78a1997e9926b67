package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

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
