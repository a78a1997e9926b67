package oci

import (
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// DescribeReferrer returns the subject of a manifest or index, empty when it
// has none, and its descriptor for a list of referrers (distribution spec,
// "Listing Referrers").
func DescribeReferrer(desc ocispec.Descriptor, data []byte) (subject digest.Digest, _ ocispec.Descriptor) {
	var said struct {
		ArtifactType string             `json:"artifactType"`
		Config       ocispec.Descriptor `json:"config"`
		Subject      ocispec.Descriptor `json:"subject"`
		Annotations  map[string]string  `json:"annotations"`
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return "", desc
	}
	desc.ArtifactType, desc.Annotations = said.ArtifactType, said.Annotations
	if desc.ArtifactType == "" && images.IsManifestType(desc.MediaType) {
		desc.ArtifactType = said.Config.MediaType
	}
	return said.Subject.Digest, desc
}

// Refers reports whether content is the subject of a manifest or index.
func Refers(data []byte, d digest.Digest) bool {
	subject, _ := DescribeReferrer(ocispec.Descriptor{}, data)
	return subject == d
}

// maxLooks bounds the referrers that are examined concurrently.
const maxLooks = 8

// SelectReferrers drops entries that turn out to refer to something else, or
// are neither a manifest nor an index. Entries that cannot be examined are
// kept: fetching them reports the error.
func SelectReferrers(ctx context.Context, listed []ocispec.Descriptor, refers func(context.Context, ocispec.Descriptor) (bool, error)) ([]ocispec.Descriptor, error) {
	other := make([]bool, len(listed))
	var group errgroup.Group
	group.SetLimit(maxLooks)
	for i, d := range listed {
		group.Go(func() error {
			if other[i] = !IsManifestOrIndex(d.MediaType); !other[i] {
				is, err := refers(ctx, d)
				other[i] = err == nil && !is
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var kept []ocispec.Descriptor
	for i, d := range listed {
		if !other[i] {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// ReferrersTag is the tag for a list of referrers (distribution spec,
// "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	algorithm, encoded := d.Algorithm().String(), d.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

var digestAsTag = regexp.MustCompile(`^(sha256|sha512)-([0-9a-f]{64,128})`)

// SubjectOfTag returns the digest with which a tag for what refers to it begins:
// that of a list of referrers, or one of cosign's, such as sha256-….sig.
func SubjectOfTag(tag string) (digest.Digest, bool) {
	m := digestAsTag.FindStringSubmatch(tag)
	if m == nil {
		return "", false
	}
	return digest.Digest(m[1] + ":" + m[2]), true
}

// attachments are the ends of the tags under which cosign 2 attaches signatures,
// attestations and bills of materials to content.
var attachments = []string{".sig", ".att", ".sbom"}

// AttachedTags are the tags under which something may be attached to content.
func AttachedTags(d digest.Digest) []string {
	tags := make([]string, len(attachments))
	for i, end := range attachments {
		tags[i] = d.Algorithm().String() + "-" + d.Encoded() + end
	}
	return tags
}

// IsAttachedTag reports whether a tag is one of [AttachedTags] of some content.
func IsAttachedTag(tag string) bool {
	d, ok := SubjectOfTag(tag)
	return ok && d.Validate() == nil && slices.Contains(AttachedTags(d), tag)
}

// Named are the layers of a manifest, or the entries of an index, with all that
// is said of them: of a manifest that is attached to content, the signatures.
// cosign signs the same text with each key, and puts what differs into a layer's
// annotations. Anything else has none.
func Named(data []byte) (named []ocispec.Descriptor) {
	var said struct{ Layers, Manifests []ocispec.Descriptor }
	_ = json.Unmarshal(data, &said)
	return slices.Concat(said.Layers, said.Manifests)
}

// Covers reports whether all are among some.
func Covers(some, all []ocispec.Descriptor) bool {
	return !slices.ContainsFunc(all, func(d ocispec.Descriptor) bool {
		return !slices.ContainsFunc(some, func(s ocispec.Descriptor) bool { return reflect.DeepEqual(s, d) })
	})
}
