package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"runtime"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ChildNamespace is the annotation that points a member of an index to a child repository.
const ChildNamespace = "io.github.nestedoci.child-namespace"

// Image puts an image of uncompressed tar layers for linux on this machine's architecture.
func (r *Registry) Image(repository string, layers ...[]byte) ocispec.Descriptor {
	return r.ImageFor(ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, repository, layers...)
}

// ImageFor is Image for another platform, which the descriptor names.
func (r *Registry) ImageFor(platform ocispec.Platform, repository string, layers ...[]byte) ocispec.Descriptor {
	config := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	m := newManifest()
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer))
		m.Layers = append(m.Layers, r.PutBlob(repository, ocispec.MediaTypeImageLayerGzip, compress(layer)))
	}
	m.Config = r.PutBlob(repository, ocispec.MediaTypeImageConfig, encode(config))
	d := r.Put(repository, m.MediaType, encode(m))
	d.Platform = &platform
	return d
}

// Artifact puts an artifact of blobs that PutBlob stored.
func (r *Registry) Artifact(repository, artifactType string, blobs ...ocispec.Descriptor) ocispec.Descriptor {
	return r.artifact(repository, artifactType, nil, blobs)
}

// Referrer is Artifact with a subject.
func (r *Registry) Referrer(repository string, subject ocispec.Descriptor, artifactType string, blobs ...ocispec.Descriptor) ocispec.Descriptor {
	return r.artifact(repository, artifactType, &ocispec.Descriptor{
		MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size,
	}, blobs)
}

func (r *Registry) artifact(repository, artifactType string, subject *ocispec.Descriptor, blobs []ocispec.Descriptor) ocispec.Descriptor {
	empty := r.PutBlob(repository, ocispec.MediaTypeEmptyJSON, []byte("{}"))
	m := newManifest()
	m.ArtifactType, m.Config, m.Subject = artifactType, empty, subject
	m.Layers = append(m.Layers, blobs...)
	if len(blobs) == 0 {
		m.Layers = append(m.Layers, empty) // the image specification asks for one at least
	}
	d := r.Put(repository, m.MediaType, encode(m))
	d.ArtifactType = artifactType
	return d
}

// Index puts an index of members, which need not exist.
func (r *Registry) Index(repository string, members ...ocispec.Descriptor) ocispec.Descriptor {
	index := newIndex(append([]ocispec.Descriptor{}, members...))
	return r.Put(repository, index.MediaType, encode(index))
}

// Member is a descriptor that points into a child namespace of the index's repository.
func Member(d ocispec.Descriptor, childNamespace string) ocispec.Descriptor {
	annotations := maps.Clone(d.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[ChildNamespace] = childNamespace
	d.Annotations = annotations
	return d
}

// TarLayer is an uncompressed layer of files, the same bytes for the same files.
func TarLayer(files map[string]string) []byte {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		must(err)
	}
	must(w.Close())
	return layer.Bytes()
}

func newManifest() ocispec.Manifest {
	return ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
	}
}

func compress(body []byte) []byte {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(body)
	must(err)
	must(w.Close())
	return compressed.Bytes()
}

func encode(value any) []byte {
	body, err := json.Marshal(value)
	must(err)
	return body
}
