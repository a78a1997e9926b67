package bundle

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// Selection says which members of a bundle are meant, and for which platform.
type Selection struct {
	Platform platforms.Matcher // nil means all
	Members  []string          // composed paths; none means all
}

// HostPlatform is this host's, but for macOS, whose containers are Linux's.
func HostPlatform() ocispec.Platform {
	p := platforms.DefaultSpec()
	if p.OS == "darwin" {
		p.OS = "linux"
	}
	return p
}

// takes reports whether the entry of an index is selected, or may lead to what
// is.
func (s Selection) takes(n *Node) bool {
	if s.Platform != nil && n.Platform != nil && !s.Platform.Match(*n.Platform) {
		return false
	}
	if s.Wanted(n.Namespace) {
		return true
	}
	leads := func(m string) bool { return n.Namespace == "" || strings.HasPrefix(m, n.Namespace+"/") }
	// A manifest may be a carrier; what it is besides is not visited.
	return oci.IsManifestOrIndex(n.MediaType) && slices.ContainsFunc(s.Members, leads)
}

// Wanted reports whether a namespace is one of the wanted members or below one.
func (s Selection) Wanted(namespace string) bool {
	inside := func(m string) bool { return namespace == m || strings.HasPrefix(namespace, m+"/") }
	return len(s.Members) == 0 || slices.ContainsFunc(s.Members, inside)
}

// selects reports whether a manifest is there for its own sake, and not only to
// see whether it is a carrier.
func (s Selection) selects(n *Node) bool { return n.Aside || s.Wanted(n.Namespace) }
