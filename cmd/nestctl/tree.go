package main

import (
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/tree"
)

// newTree returns the command. It shows all platforms, unlike pull: it answers
// what is there.
func newTree(s *settings) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "tree REF",
		Short: "Show the contents of a bundle, and where they are",
		Long: `For each index and manifest: its repository and digest, its platform, and the size
of all that is in it. What several of them share is counted once in the size of
each. Members of all platforms are shown. REF may be a lock; see nestctl resolve.

With --format mermaid or dot, print a graph for documents.`,
		Example: `  nestctl tree registry.example.com/org/app:v1
  nestctl tree --format dot registry.example.com/org/app:v1 | dot -Tsvg > app.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := readRef(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, walked, err := s.walk(cmd.Context(), ref, "", true, nil)
			if err != nil {
				return err
			}
			return tree.Print(cmd.Context(), cmd.OutOrStdout(), format, b, walked)
		},
	}
	commandline.ChoiceVar(c.Flags(), &format, "format", "text", "format of the result", tree.Formats()...)
	return c
}
