package main

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/nested"
)

// selection says which nodes a command is about.
type selection struct {
	platform platforms.Matcher // nil means all
	members  []string          // composed paths; none means all
}

// platformFlag is the selection for --platform and --all-platforms.
func platformFlag(platform string, all bool) (platforms.Matcher, error) {
	switch {
	case all && platform != "":
		return nil, usage.Errorf("--platform and --all-platforms exclude each other")
	case all:
		return nil, nil
	case platform == "":
		return platforms.OnlyStrict(hostPlatform()), nil
	}
	p, err := platforms.Parse(platform)
	if err != nil {
		return nil, usage.Errorf("--platform %q: must be os/architecture or os/architecture/variant, as linux/arm64", platform)
	}
	return platforms.OnlyStrict(p), nil
}

// hostPlatform is this host's, but for macOS, whose containers are Linux's.
func hostPlatform() ocispec.Platform {
	p := platforms.DefaultSpec()
	if p.OS == "darwin" {
		p.OS = "linux"
	}
	return p
}

// checkMembers checks the values of --member.
func checkMembers(members []string) error {
	for _, m := range members {
		if _, err := nested.ParseChild(m); err != nil {
			return usage.Errorf("--member %.64q: %w", m, err)
		}
	}
	return nil
}

// takes tells whether the entry of an index is selected, or may lead to what
// is.
func (s selection) takes(n *node) bool {
	if s.platform != nil && n.Platform != nil && !s.platform.Match(*n.Platform) {
		return false
	}
	if s.wanted(n.namespace) {
		return true
	}
	leads := func(m string) bool { return n.namespace == "" || strings.HasPrefix(m, n.namespace+"/") }
	// A manifest may be a carrier; what it is besides is not visited.
	return oci.IsManifestOrIndex(n.MediaType) && slices.ContainsFunc(s.members, leads)
}

// wanted tells whether a namespace is one of the wanted members or below one.
func (s selection) wanted(namespace string) bool {
	inside := func(m string) bool { return namespace == m || strings.HasPrefix(namespace, m+"/") }
	return len(s.members) == 0 || slices.ContainsFunc(s.members, inside)
}
