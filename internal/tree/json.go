package tree

import (
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/bundle"
)

// branch is a node in JSON.
type branch struct {
	Namespace    string        `json:"namespace,omitempty"`
	Repository   string        `json:"repository"`
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Platform     string        `json:"platform,omitempty"`
	Size         int64         `json:"size"`
	Children     []*branch     `json:"children,omitempty"`
}

// newBranch draws what is below a node where the node appears first. Elsewhere
// it is drawn without its children: a graph may have exponentially many paths.
func newBranch(b *bundle.Bundle, n *bundle.Node, drawn map[*bundle.Node]bool) *branch {
	drawing := &branch{
		Namespace:    n.Namespace,
		Repository:   b.Found(n).String(),
		Digest:       n.Digest,
		MediaType:    n.MediaType,
		ArtifactType: n.ArtifactType,
		Platform:     bundle.PlatformOf(n.Platform),
		Size:         n.Size,
	}
	if drawn[n] {
		return drawing
	}
	drawn[n] = true
	for _, c := range n.Children {
		drawing.Children = append(drawing.Children, newBranch(b, c, drawn))
	}
	return drawing
}
