package bundle

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Node is content on one path from the root.
type Node struct {
	nested.Entry
	Listed     bool            // in an index
	Aside      bool            // reached through what refers to something
	Namespace  string          // composed path from the root; "" in the root's repository
	Repository auth.Repository // where it is by that path
	Home       auth.Repository // whose readers have it, where that was asked; see mover.home
	Children   []*Node
	Referrers  []*Node            // where they are asked for
	Carrier    *Node              // that stood here for it
	Flat       ocispec.Descriptor // what stands for it in plain indexes, where they are made
	Missing    bool               // left out, as the source does not have it
	Visit      func() error       // visits it once, however many paths lead to it
}

// Member tells whether a child-namespace descriptor points to the node.
func (n *Node) Member() bool { return n.Child != (nested.Child{}) }

// carried returns the index that a carrier carries.
func (n *Node) carried() *Node {
	for _, c := range n.Children {
		if c.Carried {
			return c
		}
	}
	return nil
}

// leads tells whether a node is or leads to something that is selected.
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

func PlatformOf(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return platforms.Format(*p)
}

// SplitRef splits a normalised reference into repository and tag.
func SplitRef(ref string) (repository, tag string) {
	repository, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		return repository[:i], repository[i+1:]
	}
	return repository, ""
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

// Placed is what stands for a node where it was brought to.
func (n *Node) Placed() *Node {
	switch {
	case n.Flat.Digest != "":
		return &Node{Entry: nested.Entry{Descriptor: n.Flat}}
	case n.Carrier != nil:
		return n.Carrier
	}
	return n
}

// MemberNodes are the selected members below a node, by namespace.
func (w *Walker) MemberNodes(root *Node) []*Node {
	members := slices.DeleteFunc(root.All(), func(n *Node) bool {
		return !n.Member() || !w.Wanted(n.Namespace) || !n.leads()
	})
	slices.SortStableFunc(members, func(a, b *Node) int { return strings.Compare(a.Namespace, b.Namespace) })
	return members
}

// WithDigest is a reference with the digest of what it led to, which may be
// another than its own: that of what a carrier carries.
func WithDigest(ref string, d digest.Digest) string {
	if strings.Contains(ref, "@") {
		ref, _ = SplitRef(ref)
	}
	return ref + "@" + d.String()
}

// Bare is a descriptor without what belongs to the index that it stood in.
func Bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform, ArtifactType: d.ArtifactType}
}
