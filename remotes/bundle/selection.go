package bundle

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// Selection selects members of a bundle, and a platform.
type Selection struct {
	Platform platforms.Matcher // nil means all
	Members  []string          // composed paths; empty means all
}

// HostPlatform is this host's platform; on macOS Linux, because its containers
// run Linux.
func HostPlatform() ocispec.Platform {
	p := platforms.DefaultSpec()
	if p.OS == "darwin" {
		p.OS = "linux"
	}
	return p
}

// mayContain reports whether the entry of an index is selected, or may contain
// something that is.
func (s Selection) mayContain(n *Node) bool {
	if s.Platform != nil && n.Platform != nil && !s.Platform.Match(*n.Platform) {
		return false
	}
	if s.MatchesMember(n.Namespace) {
		return true
	}
	above := func(m string) bool { return n.Namespace == "" || strings.HasPrefix(m, n.Namespace+"/") }
	// A manifest may be a carrier; what it is besides is not visited.
	return oci.IsManifestOrIndex(n.MediaType) && slices.ContainsFunc(s.Members, above)
}

// MatchesMember reports whether a namespace is one of the selected members or
// below one.
func (s Selection) MatchesMember(namespace string) bool {
	inside := func(m string) bool { return namespace == m || strings.HasPrefix(namespace, m+"/") }
	return len(s.Members) == 0 || slices.ContainsFunc(s.Members, inside)
}

// isSelected reports whether a manifest is selected itself, and not only read
// to see whether it is a carrier.
func (s Selection) isSelected(n *Node) bool { return n.Aside || s.MatchesMember(n.Namespace) }
