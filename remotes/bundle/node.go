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
	Listed     bool            // in an index
	Aside      bool            // reached through what refers to something
	Namespace  string          // composed path from the root; "" in the root's repository
	Repository auth.Repository // where it is by that path
	Children   []*Node         // as far as they are selected, in order
	Referrers  []*Node         // where they are asked for
	Carrier    *Node           // that stood here for it
	Missing    bool            // left out, as the source does not have it

	visit func() error // visits it once, however many paths lead to it
}

// contentKey is content as a manifest or index or as a blob: a registry keeps
// them apart.
type contentKey struct {
	digest          digest.Digest
	manifestOrIndex bool
}

func (n *Node) key() contentKey { return contentKey{n.Digest, n.isManifestOrIndex()} }

func (n *Node) isManifestOrIndex() bool { return oci.IsManifestOrIndex(n.MediaType) }

// IsMember reports whether a child-namespace descriptor points to the node.
func (n *Node) IsMember() bool { return n.Child != (nested.Child{}) }

// IsNestedIndex reports whether the node has members of its own among what a
// walk has selected: clients that know nothing of child namespaces cannot pull it.
func (n *Node) IsNestedIndex() bool { return slices.ContainsFunc(n.Children, (*Node).IsMember) }

// carried returns the index that a carrier carries.
func (n *Node) carried() *Node {
	for _, c := range n.Children {
		if c.Carried {
			return c
		}
	}
	return nil
}

// leads reports whether a node is or leads to something that is selected.
func (n *Node) leads() bool {
	return slices.ContainsFunc(n.All(), func(n *Node) bool { return !images.IsIndexType(n.MediaType) && !n.Missing })
}

// All returns a node and everything below it, parents first, each once.
func (n *Node) All() []*Node {
	seen := map[*Node]bool{}
	var nodes []*Node
	var add func(*Node)
	add = func(n *Node) {
		if seen[n] {
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

// Whole is a node and everything below it, with what refers to any of it.
func (n *Node) Whole() []*Node {
	nodes := n.All()
	for _, below := range nodes {
		for _, r := range below.Referrers {
			nodes = append(nodes, r.Whole()...)
		}
	}
	return nodes
}

// Stored is the node that stands for it in its repository: a carrier, where one
// carries it.
func (n *Node) Stored() *Node {
	if n.Carrier != nil {
		return n.Carrier
	}
	return n
}

// WithDigest is a reference with the digest of what it led to, which may be
// another than its own: that of what a carrier carries.
func WithDigest(ref string, d digest.Digest) string {
	ref, _, _ = strings.Cut(ref, "@")
	return ref + "@" + d.String()
}

// Bare is a descriptor without what belongs to the index that it stood in.
func Bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform, ArtifactType: d.ArtifactType}
}

// IsNonDistributable reports whether content of a media type is not to be
// distributed (image-spec, "Non-Distributable Layers"; Docker's foreign layers).
// Such layers stay where they are: clients get them from their URLs. Copies,
// layouts and archives leave them out as other tools do, also where a registry
// happens to have one, and say so.
func IsNonDistributable(mediaType string) bool { return images.IsNonDistributable(mediaType) }
