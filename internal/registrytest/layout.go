package registrytest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LayoutFiles are the files of an OCI layout or an archive, by their names.
type LayoutFiles map[string]string

// NamedLayout returns a layout in which each name leads to a manifest of its own;
// "a=b" gives containerd's name, too.
func NamedLayout(names ...string) (LayoutFiles, map[string]digest.Digest) {
	const config = `{}`
	f, digests := LayoutFiles{ocispec.ImageLayoutFile: `{"imageLayoutVersion":"1.0.0"}`}, map[string]digest.Digest{}
	f[LayoutBlob(digest.FromString(config))] = config
	var index ocispec.Index
	index.SchemaVersion = 2
	for _, name := range names {
		m := ocispec.Manifest{
			MediaType:   ocispec.MediaTypeImageManifest,
			Config:      ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromString(config), Size: int64(len(config))},
			Layers:      []ocispec.Descriptor{},
			Annotations: map[string]string{"n": fmt.Sprint(len(digests))},
		}
		m.SchemaVersion = 2
		manifest := mustJSON(m)
		d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromString(manifest), Size: int64(len(manifest)), Annotations: map[string]string{}}
		own, full, _ := strings.Cut(name, "=")
		for key, value := range map[string]string{ocispec.AnnotationRefName: own, images.AnnotationImageName: full} {
			if value != "" {
				d.Annotations[key] = value
			}
		}
		index.Manifests, f[LayoutBlob(d.Digest)], digests[name] = append(index.Manifests, d), manifest, d.Digest
	}
	f[ocispec.ImageIndexFile] = mustJSON(index)
	return f, digests
}

// LayoutBlob is the name of a blob in a layout.
func LayoutBlob(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// Write writes the files into a directory.
func (f LayoutFiles) Write(dir string) error {
	for name, text := range f {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Complete checks that a named descriptor's content is there. Of an index only
// some entries need to be, of a manifest everything.
func (f LayoutFiles) Complete(d ocispec.Descriptor) error {
	data, ok := f[LayoutBlob(d.Digest)]
	if !ok || int64(len(data)) != d.Size {
		return fmt.Errorf("%s is named and not there", d.Digest)
	}
	if d.MediaType != ocispec.MediaTypeImageManifest {
		return nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		return err
	}
	for _, below := range append(m.Layers, m.Config) {
		if err := f.Complete(below); err != nil {
			return err
		}
	}
	return nil
}

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}
