package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/nested"
)

// rawIndex is an index that is being made or changed. Its entries are kept as
// bytes, so that those that stay lose nothing.
type rawIndex struct {
	specs.Versioned
	MediaType    string              `json:"mediaType"`
	ArtifactType string              `json:"artifactType,omitempty"`
	Manifests    []json.RawMessage   `json:"manifests"`
	Subject      *ocispec.Descriptor `json:"subject,omitempty"`
	Annotations  map[string]string   `json:"annotations,omitempty"`
}

func newRawIndex() *rawIndex {
	return &rawIndex{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []json.RawMessage{}}
}

// parseRawIndex reads an index, and refuses one with properties that would be
// lost when it is written.
func parseRawIndex(data []byte) (*rawIndex, error) {
	if !utf8.Valid(data) {
		return nil, avoidable(ByNewIndex, "the index is not UTF-8, as an index with child namespaces has to be")
	}
	index := newRawIndex()
	var all map[string]json.RawMessage
	err := json.Unmarshal(data, index)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, err
	}
	for key := range all {
		if !slices.Contains([]string{"schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"}, key) {
			return nil, avoidable(ByNewIndex, "the index has the property %q, which would be lost", key)
		}
	}
	return index, nil
}

// indexEntry is a descriptor that may have the property of issue 1217.
type indexEntry struct {
	ocispec.Descriptor
	Namespace string `json:"namespace,omitempty"`
}

// add appends an entry for a member, unless the same entry is there.
func (d *rawIndex) add(m member, o AddOptions) error {
	entry := indexEntry{Descriptor: m.desc}
	entry.Annotations = map[string]string{}
	maps.Copy(entry.Annotations, o.MemberAnnotations)
	if m.source.Name != "" {
		entry.Annotations[ocispec.AnnotationRefName] = m.source.Name
	}
	entry.Annotations[nested.Annotation] = m.child.String()
	if m.from != nil {
		entry.Annotations[nested.OriginAnnotation] = m.origin().String()
	}
	if o.Property {
		entry.Namespace = m.child.String()
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	same := func(other json.RawMessage) bool { return string(other) == string(data) }
	if !slices.ContainsFunc(d.Manifests, same) {
		d.Manifests = append(d.Manifests, data)
	}
	return nil
}

// annotate sets annotations and the artifact type where they are given.
func (d *rawIndex) annotate(o AddOptions) {
	if d.Annotations == nil && len(o.Annotations) > 0 {
		d.Annotations = map[string]string{}
	}
	maps.Copy(d.Annotations, o.Annotations)
	if o.ArtifactType != "" {
		d.ArtifactType = o.ArtifactType
	}
}

// bytes returns the index and its descriptor. It is deterministic.
func (d *rawIndex) bytes() ([]byte, ocispec.Descriptor, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // it would change entries that were there
	if err := encoder.Encode(d); err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	data := sanitize.JSON(bytes.TrimSuffix(text.Bytes(), []byte("\n"))) // which is printed, too
	if len(data) > oci.MaxManifest {
		return nil, ocispec.Descriptor{}, fmt.Errorf("the index has %d bytes; %d are allowed", len(data), oci.MaxManifest)
	}
	return data, ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, nil
}
