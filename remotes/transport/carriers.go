package transport

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/nested"
)

// carriers remembers of manifests which index they carry, nil when none, so
// that a HEAD need not look twice. That is content, the same in every
// repository.
type carriers struct {
	known flight.Map[digest.Digest, *ocispec.Descriptor]
}

func (c *carriers) put(d digest.Digest, carried *nested.Place) {
	var index *ocispec.Descriptor
	if carried != nil {
		desc := carried.Detached().Descriptor() // its strings may share one copy of the manifest
		index = &desc
	}
	c.known.Put(d, index, flight.Forever)
}

func (c *carriers) get(d digest.Digest) (carried *ocispec.Descriptor, known bool) {
	return c.known.Get(d)
}
