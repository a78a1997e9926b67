package registry

import (
	"strings"

	"github.com/containerd/containerd/v2/core/images"
)

// Accept is the header with which containerd asks for a manifest or index of a
// media type; "" is one that is not known.
func Accept(mediaType string) string {
	if mediaType == "" {
		return acceptAll
	}
	return mediaType + ", */*"
}

var acceptAll = strings.Join([]string{images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema2ManifestList,
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "*/*"}, ", ")
