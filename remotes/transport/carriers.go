package transport

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/nested"
)

// carriers remembers by digest which index a manifest carries, nil if none, so
// that a HEAD does not read it again. It is the same in every repository.
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
