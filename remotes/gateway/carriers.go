package gateway

import (
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// carriers remembers of manifests which index they carry, if any, so that a
// HEAD need not look twice. That is content, the same in every repository.
type carriers struct {
	mu  sync.Mutex
	all map[digest.Digest]*ocispec.Descriptor
}

// maxCarriers bounds the manifests that are remembered.
const maxCarriers = 10_000

func (c *carriers) put(d digest.Digest, carried *nested.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxCarriers {
		c.all = map[digest.Digest]*ocispec.Descriptor{}
	}
	c.all[d] = nil
	if carried != nil {
		i := carried.Descriptor
		c.all[d] = &ocispec.Descriptor{MediaType: i.MediaType, Digest: i.Digest, Size: i.Size}
	}
}

func (c *carriers) get(d digest.Digest) (carried *ocispec.Descriptor, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	carried, known = c.all[d]
	return carried, known
}
