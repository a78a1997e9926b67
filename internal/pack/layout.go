package main

import (
	_ "crypto/sha256" // for digest
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout collects the blobs of an OCI image layout.
type layout map[digest.Digest][]byte

func (l layout) add(mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	l[d.Digest] = data
	return d
}

func (l layout) addJSON(mediaType string, value any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(value)
	return l.add(mediaType, data), err
}

// archive is the layout in a tar file, in which the root has a tag as its name.
func (l layout) archive(root ocispec.Descriptor, tag string) ([]byte, error) {
	root.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{root}})
	if err != nil {
		return nil, err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	files := []file{{ocispec.ImageLayoutFile, 0o644, version}, {ocispec.ImageIndexFile, 0o644, index}}
	for d, data := range l {
		files = append(files, file{"blobs/" + d.Algorithm().String() + "/" + d.Encoded(), 0o644, data})
	}
	return tarOf(time.Unix(0, 0), files)
}
