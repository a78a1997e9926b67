package registry

import (
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// platform is this node's. What merely runs on it, as 386 does on amd64, clients
// take where there is nothing else.
var platform = platforms.OnlyStrict(platforms.DefaultSpec())

// maxMediaType bounds a media type that is kept: RFC 6838, section 4.2.
const maxMediaType = 255

// IsExpected reports whether a client of this platform will request content, an
// entry of an index or what a manifest names, and it is small. Of a manifest for
// an unknown platform that is the config alone. Content with URLs is requested
// there.
func IsExpected(d ocispec.Descriptor, isEntry, forPlatform bool) bool {
	switch {
	case !IsSmall(d), len(d.MediaType) > maxMediaType, len(d.Data) > 0, len(d.URLs) > 0, d.Platform != nil && !platform.Match(*d.Platform):
		return false
	case isEntry:
		return oci.IsManifestOrIndex(d.MediaType)
	}
	return forPlatform || images.IsConfigType(d.MediaType)
}
