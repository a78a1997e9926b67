package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
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

// TestManifestsThatAreNotFollowed: of a manifest in a format that was given up, the blobs would be left behind without a
// word. No command takes one for complete: as a root, as a member, in a plain index, or as what refers to a member.
func TestManifestsThatAreNotFollowed(t *testing.T) {
	const artifact, schema1 = "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"
	for _, mediaType := range []string{artifact, schema1} {
		for name, put := range map[string]func(src *registrytest.Registry, old func(string, *ocispec.Descriptor) ocispec.Descriptor) (args []string){
			"member": func(src *registrytest.Registry, old func(string, *ocispec.Descriptor) ocispec.Descriptor) []string {
				src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(old("org/app/web", nil), "web")).Digest)
				return nil
			},
			"plain": func(src *registrytest.Registry, old func(string, *ocispec.Descriptor) ocispec.Descriptor) []string {
				src.Tag("org/app", "v1", src.Index("org/app", old("org/app", nil)).Digest)
				return nil
			},
			"root": func(src *registrytest.Registry, old func(string, *ocispec.Descriptor) ocispec.Descriptor) []string {
				src.Tag("org/app", "v1", old("org/app", nil).Digest)
				return nil
			},
			"referrer": func(src *registrytest.Registry, old func(string, *ocispec.Descriptor) ocispec.Descriptor) []string {
				web := src.Artifact("org/app/web", "application/vnd.test")
				src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(web, "web")).Digest)
				src.Tag("org/app/web", strings.ReplaceAll(web.Digest.String(), ":", "-"), src.Index("org/app/web", old("org/app/web", &web)).Digest)
				return []string{"--referrers"}
			},
		} {
			t.Run(name+" "+mediaType, func(t *testing.T) {
				src, dst := pushScene(t), pushScene(t)
				src.Intercept(registrytest.Answer(404, nil, registrytest.Of(registrytest.KindReferrers)))
				args := put(src, func(repository string, subject *ocispec.Descriptor) ocispec.Descriptor {
					blob := src.PutBlob(repository, "application/x-test", []byte("blob"))
					data, err := json.Marshal(map[string]any{"mediaType": mediaType, "schemaVersion": 1, "artifactType": "application/vnd.test", "blobs": []ocispec.Descriptor{blob}, "subject": subject})
					clienttest.NoError(t, err)
					return src.Put(repository, mediaType, data)
				})
				const want = "what it points to would be left behind"
				ref, layout := src.Host()+"/org/app:v1", filepath.Join(t.TempDir(), "layout")
				for _, to := range []string{dst.Host() + "/prod/app:v1", "oci-layout:" + layout, "oci-archive:" + layout + ".tar"} {
					if status, said := copyWith(t, append(args, ref, to)...); status != failure || !strings.Contains(said, want) {
						t.Errorf("copy to %s: exit status %d: %s", to, status, said)
					}
				}
				if holds(t, dst, "prod/app", "v1") {
					t.Error("the destination has the tag")
				}
				if len(args) > 0 {
					return // others do not ask for what refers to something
				}
				var said strings.Builder
				if status := run(t.Context(), []string{"pull", "--plain-http", "--hosts-dir=", "-q", "--to=oci-layout:" + layout, ref}, &said, &said); status != failure || !strings.Contains(said.String(), want) {
					t.Errorf("pull: exit status %d: %s", status, &said)
				}
				if report := runCheck(t, failure, ref); report.Complete || len(report.Findings) != 1 || !strings.Contains(report.Findings[0].Message, want) {
					t.Errorf("check: %+v", report)
				}
			})
		}
	}
}
