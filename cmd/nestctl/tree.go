package main

import (
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
)

// newTree returns the command. It shows all platforms, unlike pull: it answers
// what is there.
func newTree(s *settings) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "tree REF",
		Short: "Show the contents of a bundle, and where they are",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			ref, err := readRef(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, walked, err := s.walk(cmd.Context(), ref, "", true, nil)
			if err != nil {
				return err
			}
			tree := newBranch(b, walked.Root, map[*bundle.Node]bool{})
			return show(cmd.OutOrStdout(), format, tree)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

// branch is a node in the output, as text and as JSON.
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

func (b *branch) lines() []string { return b.draw(nil, "", "") }

// draw adds the lines of a branch; first is the prefix of its own line, rest
// that of the lines below.
func (b *branch) draw(lines []string, first, rest string) []string {
	line := b.Repository + "@" + string(b.Digest) + "  " + oci.Kind(b.MediaType, b.ArtifactType)
	if b.Platform != "" {
		line += "  " + b.Platform
	}
	lines = append(lines, first+line+"  "+amount.Bytes(b.Size))
	for i, c := range b.Children {
		first, below := "├── ", "│   "
		if i == len(b.Children)-1 {
			first, below = "└── ", "    "
		}
		lines = c.draw(lines, rest+first, rest+below)
	}
	return lines
}
