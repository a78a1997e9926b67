package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// CarrierType is the artifact type of a carrier: an image manifest whose one
// layer is an index that the registry would not take (docs/spec.md,
// section 8).
const CarrierType = "application/vnd.nestedoci.carrier.v1+json"

// Entry is what a manifest or index points to.
type Entry struct {
	ocispec.Descriptor
	// Child is the child namespace of an index's entry, the zero value for
	// one of the same repository.
	Child Child
	// Carried marks the index that a carrier carries. It takes the carrier's
	// place, and is stored as a blob.
	Carried bool
	// Origin is the value of [OriginAnnotation], unchecked. Of longer ones than
	// a reference can be, and of those read outside a pull, it is "".
	Origin string
}

// parsed is a manifest or index, parsed.
type parsed struct {
	nested  bool // an index that states a child namespace
	entries []Entry
	unread  error // why it points to nothing, when it is neither a manifest nor an index
}

// UnfollowedError says of a manifest in a format that was given up that its
// content is not followed, so that a copy of all of a bundle is not possible.
// It has no class of errdefs.
type UnfollowedError struct {
	Repository auth.Repository
	Digest     digest.Digest
	MediaType  string
}

func (e *UnfollowedError) Error() string {
	return fmt.Sprintf("%s@%s: it is a manifest of a format that was given up (%s), and what it points to would be left behind; "+
		"push it again as an image manifest, as oras does", e.Repository, oci.Short(e.Digest), e.MediaType)
}

// Unfollowed returns an [UnfollowedError] for content of such a format: an
// artifact manifest of the image spec's release candidates, or a manifest of
// Docker's first registry API. They have blobs, but containerd knows of none.
func Unfollowed(repository auth.Repository, desc ocispec.Descriptor) error {
	switch desc.MediaType {
	case "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+json", images.MediaTypeDockerSchema1Manifest:
		return &UnfollowedError{repository, desc.Digest, desc.MediaType}
	}
	return nil
}

// positionError is an error about one element of manifests[].
type positionError struct {
	position int
	error
}

func (e *positionError) Unwrap() error { return e.error }

// read reads a verified manifest or index. Strictly it refuses whatever is
// ambiguous or out of bounds; otherwise it reads as containerd does, and what
// does not decode points to nothing. An index that states a child namespace is
// always read strictly (docs/spec.md, section 4).
func (r Rule) read(mediaType string, data []byte, strict bool) (parsed, error) {
	if images.IsIndexType(mediaType) {
		if m, ok := r.readFast(mediaType, data); ok {
			return m, nil
		}
	}
	m, err := r.decode(mediaType, data, strict)
	if err != nil && !strict && !m.nested {
		return parsed{unread: err}, nil
	}
	return m, err
}

func (r Rule) decode(mediaType string, data []byte, strict bool) (parsed, error) {
	if !json.Valid(data) {
		return parsed{}, errors.New("not JSON")
	}
	index := images.IsIndexType(mediaType)
	var s scan
	if index || strict || len(data) > r.limits.Entries { // less has fewer entries, and the rest is not asked for
		var err error
		if s, err = scanTokens(data, r.keys); err != nil {
			return parsed{}, err
		}
	}
	m := parsed{nested: index && s.nested}
	if strict = strict || m.nested; strict {
		if err := r.checkBytes(data, s); err != nil {
			return m, err
		}
	}
	if s.entries > r.limits.Entries { // before they take a hundred times their room
		return m, fmt.Errorf("more than %d entries", r.limits.Entries)
	}
	var p parts
	if err := json.Unmarshal(data, &p); err != nil {
		return m, errors.New("not an index or manifest of the image spec")
	}
	if strict {
		if err := p.checkShape(mediaType); err != nil {
			return m, err
		}
	}
	if index {
		return r.decodeIndex(m, p.Manifests, strict)
	}
	return r.decodeManifest(m, p, strict)
}

// parts are what the image spec's index and manifest have between them.
type parts struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Manifests    []json.RawMessage    `json:"manifests"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
}

func (r Rule) decodeManifest(m parsed, p parts, strict bool) (parsed, error) {
	if p.Config != nil {
		m.entries = append(m.entries, Entry{Descriptor: *p.Config})
	}
	for _, layer := range p.Layers {
		carried := p.ArtifactType == CarrierType && len(p.Layers) == 1 && images.IsIndexType(layer.MediaType)
		m.entries = append(m.entries, Entry{Descriptor: layer, Carried: carried})
	}
	for _, e := range m.entries {
		if err := r.checkDescriptor(e.Descriptor, e.Carried); err != nil && strict {
			return m, err
		}
	}
	return m, nil
}

func (r Rule) decodeIndex(m parsed, elements []json.RawMessage, strict bool) (parsed, error) {
	for i, raw := range elements {
		var entry Entry
		if err := json.Unmarshal(raw, &entry.Descriptor); err != nil {
			return m, &positionError{i, errors.New("not a descriptor")}
		}
		if m.nested {
			properties, err := r.keys.properties(raw)
			if err != nil {
				return m, &positionError{i, errors.New("not a descriptor")}
			}
			if entry.Child, err = r.keys.childOf(properties); err != nil {
				return m, &positionError{i, err}
			}
		}
		if strict {
			if err := r.checkDescriptor(entry.Descriptor, oci.IsManifestOrIndex(entry.MediaType)); err != nil {
				return m, &positionError{i, err}
			}
		}
		m.entries = append(m.entries, entry)
	}
	return m, nil
}

// checkBytes is the strict part about the manifest or index as text.
func (r Rule) checkBytes(data []byte, s scan) error {
	switch {
	case int64(len(data)) > r.limits.Manifest:
		return fmt.Errorf("larger than %d bytes", r.limits.Manifest)
	case !utf8.Valid(data):
		return errors.New("not UTF-8")
	}
	return s.ambiguous
}

// checkShape refuses a manifest or index that is not what its descriptor says.
func (p parts) checkShape(described string) error {
	switch {
	case p.MediaType != "" && p.MediaType != described:
		return fmt.Errorf("its media type is %s, its descriptor says %s", sanitize.Quote(p.MediaType), sanitize.Quote(described))
	case images.IsIndexType(described) && (p.Config != nil || p.Layers != nil):
		return errors.New("an index with config or layers")
	case images.IsManifestType(described) && p.Manifests != nil:
		return errors.New("a manifest with manifests")
	}
	return nil
}

// checkDescriptor is the strict part about one descriptor.
func (r Rule) checkDescriptor(d ocispec.Descriptor, isManifestOrIndex bool) error {
	if err := validate(d.Digest); err != nil {
		return fmt.Errorf("digest %s: %w", sanitize.Quote(string(d.Digest)), err)
	}
	switch {
	case strings.ContainsFunc(d.MediaType, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("media type %s: not printable ASCII", sanitize.Quote(d.MediaType))
	case d.Size < 0 || d.Size == 0 && isManifestOrIndex:
		return fmt.Errorf("size %d: impossible", d.Size)
	case isManifestOrIndex && d.Size > r.limits.Manifest:
		return fmt.Errorf("size %d is more than the %d bytes that a manifest or index may have", d.Size, r.limits.Manifest)
	case len(d.Data) > 0 && oci.Verify(d, d.Data) != "":
		return errors.New("its data: " + oci.Verify(d, d.Data))
	}
	return nil
}

// validate is the digest's own Validate, which would match regular expressions
// against each of the digests that nearly all are.
func validate(d digest.Digest) error {
	const prefix, digits = "sha256:", "0123456789abcdef"
	encoded, ok := strings.CutPrefix(string(d), prefix)
	if ok && len(encoded) == 64 && strings.Trim(encoded, digits) == "" {
		return nil
	}
	return d.Validate()
}
