package bundle

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Node is content on one path from the root.
type Node struct {
	nested.Entry
	IsRoot     bool
	Listed     bool            // is an entry of an index
	Aside      bool            // reached through a referrer
	Namespace  string          // composed path from the root; "" in the root's repository
	Repository auth.Repository // of its path
	Children   []*Node         // the selected ones, in order
	Referrers  []*Node         // where they were requested
	Tag        string          // by which it is attached to its subject
	Carrier    *Node           // the carrier that was in its place
	Missing    bool            // left out because the source does not have it
	Origins    []Origin        // set after the walk: where it was copied from, as indexes say

	visit func() error // visits it once, however many paths lead to it
}

// contentKey tells apart content that is a manifest or index and content that
// is a blob, as registries do.
type contentKey struct {
	digest          digest.Digest
	manifestOrIndex bool
}

func (n *Node) key() contentKey { return contentKey{n.Digest, n.isManifestOrIndex()} }

func (n *Node) isManifestOrIndex() bool { return oci.IsManifestOrIndex(n.MediaType) }

// IsMember reports whether a child-namespace descriptor points to the node.
func (n *Node) IsMember() bool { return n.Child != (nested.Child{}) }

// IsNestedIndex reports whether the node has members of its own among those
// that a walk has selected: clients without child namespaces cannot pull it.
func (n *Node) IsNestedIndex() bool { return slices.ContainsFunc(n.Children, (*Node).IsMember) }

// carried returns the index in a carrier.
func (n *Node) carried() *Node {
	for _, c := range n.Children {
		if c.Carried {
			return c
		}
	}
	return nil
}

// hasContent reports whether there is a selected manifest or blob at or below a
// node.
func (n *Node) hasContent() bool {
	return slices.ContainsFunc(n.All(), func(n *Node) bool { return !images.IsIndexType(n.MediaType) && !n.Missing })
}

// All returns a node and everything below it, parents first, each once.
func (n *Node) All() []*Node { return n.Where(func(*Node) bool { return true }) }

// Where is All without nodes that do not fit, and without what can only be
// reached through those.
func (n *Node) Where(fits func(*Node) bool) []*Node {
	seen := map[*Node]bool{}
	var nodes []*Node
	var add func(*Node)
	add = func(n *Node) {
		if seen[n] || !fits(n) {
			return
		}
		seen[n] = true
		nodes = append(nodes, n)
		for _, c := range n.Children {
			add(c)
		}
	}
	add(n)
	return nodes
}

// PlatformOf is a platform for people, os/architecture[/variant]; "" for none.
func PlatformOf(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return platforms.Format(*p)
}

// AllWithReferrers returns a node and everything below it, with what refers to
// any of it.
func (n *Node) AllWithReferrers() []*Node {
	nodes := n.All()
	for _, below := range nodes {
		for _, r := range below.Referrers {
			nodes = append(nodes, r.AllWithReferrers()...)
		}
	}
	return nodes
}

// Stored is the node in the node's repository: the carrier, where there is one.
func (n *Node) Stored() *Node {
	if n.Carrier != nil {
		return n.Carrier
	}
	return n
}

// WithDigest is a reference with the digest that it was resolved to. For a
// carrier that is the digest of the index in it.
func WithDigest(ref string, d digest.Digest) string {
	ref, _, _ = strings.Cut(ref, "@")
	return ref + "@" + d.String()
}

// Bare is a descriptor without the fields of the index entry.
func Bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform, ArtifactType: d.ArtifactType}
}

// IsNonDistributable reports whether content of a media type must not be
// distributed (image-spec, "Non-Distributable Layers"; Docker's foreign
// layers). Such layers stay where they are: clients get them from their URLs.
// Copies, layouts and archives leave them out as other tools do, even where a
// registry has one, and say so.
func IsNonDistributable(mediaType string) bool { return images.IsNonDistributable(mediaType) }
