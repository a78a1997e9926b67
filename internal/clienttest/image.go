package clienttest

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// Image is an image and what it consists of.
type Image struct {
	ocispec.Descriptor
	Config ocispec.Descriptor
	Layers []ocispec.Descriptor
	Bytes  map[digest.Digest][]byte
}

// NewImage makes an image, unlike others, whose layers hold these texts.
func NewImage(of string, layers ...string) Image {
	i := Image{Bytes: map[digest.Digest][]byte{}}
	i.Config = i.add(ocispec.MediaTypeImageConfig, []byte(fmt.Sprintf(`{"os":"linux","of":%q}`, of)))
	for _, text := range layers {
		i.Layers = append(i.Layers, i.add(ocispec.MediaTypeImageLayer, []byte(text)))
	}
	i.Descriptor = i.add(ocispec.MediaTypeImageManifest, ManifestOf(i.Config, i.Layers...))
	return i
}

func (i Image) add(mediaType string, body []byte) ocispec.Descriptor {
	d := Describe(mediaType, body)
	i.Bytes[d.Digest] = body
	return d
}

// In puts the whole image into a repository.
func (i Image) In(reg *registrytest.Registry, repository string) Image {
	i.BlobsIn(reg, repository)
	i.ManifestIn(reg, repository)
	return i
}

// ManifestIn puts the manifest alone.
func (i Image) ManifestIn(reg *registrytest.Registry, repository string) {
	reg.Put(repository, i.MediaType, i.Bytes[i.Digest])
}

// BlobsIn puts config and layers.
func (i Image) BlobsIn(reg *registrytest.Registry, repository string) {
	for _, d := range i.Parts() {
		reg.PutBlob(repository, d.MediaType, i.Bytes[d.Digest])
	}
}

// Parts are config and layers.
func (i Image) Parts() []ocispec.Descriptor {
	return append([]ocispec.Descriptor{i.Config}, i.Layers...)
}

// PutImage puts an image of its own into a repository.
func PutImage(reg *registrytest.Registry, repository string, layers ...string) Image {
	return NewImage(repository, layers...).In(reg, repository)
}

// Describe is the descriptor of content.
func Describe(mediaType string, body []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

// ManifestOf is an image manifest.
func ManifestOf(config ocispec.Descriptor, layers ...ocispec.Descriptor) []byte {
	return Encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	})
}

// IndexOf is an index.
func IndexOf(members ...ocispec.Descriptor) []byte {
	return Encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: members,
	})
}

// PutBundle puts a bundle of one member, web, with the tag v1.
func PutBundle(reg *registrytest.Registry, repository string) (member Image) {
	member = PutImage(reg, repository+"/web", "layer")
	reg.Put(repository, ocispec.MediaTypeImageIndex, IndexOf(registrytest.Member(member.Descriptor, "web")), "v1")
	return member
}

// Encode is a value as JSON.
func Encode(value any) []byte { return Must(json.Marshal(value)) }
