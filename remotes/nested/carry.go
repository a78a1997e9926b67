package nested

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// NewCarrier returns the manifest that carries an index (docs/spec.md, section
// 8): the same for the same index. It needs the index as a blob beside it, and
// the empty config.
func NewCarrier(desc ocispec.Descriptor, index []byte) (ocispec.Descriptor, []byte, error) {
	carrier := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: CarrierType,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{desc},
	}
	carrier.Layers[0].Data = index
	data, err := json.Marshal(carrier)
	if err == nil && len(data) > oci.MaxManifest {
		carrier.Layers[0].Data = nil
		data, err = json.Marshal(carrier)
	}
	return ocispec.Descriptor{MediaType: carrier.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data, err
}

// Protection names the tags that keep members of an index from a registry's
// clean-up (docs/spec.md, section 8b). It may be used by several goroutines at
// once.
type Protection struct {
	index digest.Digest

	mu    sync.Mutex
	first map[auth.Repository]digest.Digest
}

// Protect returns the protection of an index's members. Digests have to be
// valid, here and below.
func Protect(index digest.Digest) *Protection {
	return &Protection{index: index, first: map[auth.Repository]digest.Digest{}}
}

// shortDigits are the digits of a digest that make a tag: 48 bits tell the
// bundles of one repository apart, and people can read them.
const shortDigits = 12

// Tags are those that a member may have.
func (p *Protection) Tags(member digest.Digest) []string {
	tag := "nested-" + p.index.Encoded()[:shortDigits]
	return []string{tag, tag + "-" + member.Encoded()[:shortDigits]}
}

// protecting is the form of the tags of a Protection.
var protecting = regexp.MustCompile(fmt.Sprintf(`^(nested-[0-9a-f]{%d})(-[0-9a-f]{%[1]d})?$`, shortDigits))

// Protecting is the first of the tags that a member of an index may have, by any
// of them; "" for a tag that protects nothing. Digests are cut in it, so that it
// may be that of several indexes.
func Protecting(tag string) string {
	if m := protecting.FindStringSubmatch(tag); m != nil {
		return m[1]
	}
	return ""
}

// Tag is the tag for a member in a repository: nested-<short digest of the
// index>, and for further members of the same repository with their own short
// digest after it. The order of the calls decides, so it has to be the index's.
func (p *Protection) Tag(in auth.Repository, member digest.Digest) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	tags := p.Tags(member)
	if first, ok := p.first[in]; ok && first != member {
		return tags[1]
	}
	p.first[in] = member
	return tags[0]
}
