package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestForeignLayers: what is not to be distributed is left out by copies, layouts and archives, whether the registry has it
// or not, and each says so once; check takes it for no defect.
func TestForeignLayers(t *testing.T) {
	for _, there := range []bool{false, true} {
		for _, mediaType := range []string{images.MediaTypeDockerSchema2LayerForeignGzip, images.MediaTypeDockerSchema2LayerForeign, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"} {
			src, dst := pushScene(t), pushScene(t)
			foreign := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString("foreign"), Size: 7}
			if there {
				foreign.Digest = src.PutBlob("org/app/web", mediaType, []byte("foreign")).Digest
			}
			web := src.Artifact("org/app/web", "application/vnd.test", src.PutBlob("org/app/web", "application/x-test", []byte("own")), foreign, foreign)
			src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(web, "web")).Digest)
			layout := filepath.Join(t.TempDir(), "layout")
			for _, to := range []string{dst.Host() + "/prod/app:v1", "oci-layout:" + layout, "oci-archive:" + layout + ".tar"} {
				status, said := copyWith(t, "--format=json", src.Host()+"/org/app:v1", to)
				var result copied
				if status != 0 || json.Unmarshal([]byte(said), &result) != nil || len(result.Foreign) != 1 || !strings.HasSuffix(result.Foreign[0], "/org/app/web@"+foreign.Digest.String()) {
					t.Errorf("%s to %s: exit status %d: %s", mediaType, to, status, said)
				}
				status, said = copyWith(t, src.Host()+"/org/app:v1", to)
				if status != 0 || strings.Count(said, "not to be distributed: ") != 1 {
					t.Errorf("%s to %s: exit status %d: %s", mediaType, to, status, said)
				}
			}
			if holds(t, dst, "prod/app/web", foreign.Digest) || !holds(t, dst, "prod/app/web", web.Digest) {
				t.Errorf("%s: it is at the destination", mediaType)
			}
			status, said := copyWith(t, "oci-layout:"+layout, dst.Host()+"/again/app:v1")
			if status != 0 || !holds(t, dst, "again/app/web", web.Digest) {
				t.Errorf("from a layout: exit status %d: %s", status, said)
			}
			runCheck(t, 0, src.Host()+"/org/app:v1")
		}
	}
}
