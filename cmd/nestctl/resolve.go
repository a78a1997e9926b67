package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/remotes/nested"
)

func newResolve(s *settings) *cobra.Command {
	var members []string
	var platform, format string
	c := &cobra.Command{
		Use:   "resolve REF",
		Short: "Print the pinned references of a bundle's members",
		Long: `Print the pinned references of a bundle's members, for tools that know nothing
of child namespaces. A bundle without members resolves to itself.`,
		Example: `  nestctl resolve --format kustomize registry.example.com/org/app:v1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, "ref", "json", "env", "kustomize"); err != nil {
				return err
			}
			w, root, err := s.walk(cmd.Context(), args[0], platform, false, members)
			if err != nil {
				return err
			}
			return printPins(cmd.OutOrStdout(), format, w.pins(root))
		},
	}
	c.Flags().StringArrayVar(&members, "member", nil, "only this member and those below it, by path (web, a/b); may be repeated")
	c.Flags().StringVar(&platform, "platform", "", "platform of the members (default: this host's)")
	c.Flags().StringVar(&format, "format", "ref", "ref, json, env or kustomize")
	return c
}

// walk reads the documents of a bundle, and no other content.
func (s *settings) walk(ctx context.Context, arg, platform string, all bool, members []string) (*walker, *node, error) {
	ref, err := parseRef(arg)
	if err != nil {
		return nil, nil, err
	}
	matcher, err := platformFlag(platform, all)
	if err != nil {
		return nil, nil, err
	}
	if err = checkMembers(members); err != nil {
		return nil, nil, err
	}
	const concurrent = 8
	w, root, err := s.open(ctx, nil, new(nested.Metrics), ref, selection{matcher, members}, concurrent)
	if err != nil {
		return nil, nil, err
	}
	return w, root, w.visitAll(ctx, root)
}

// pin is a member, pinned.
type pin struct {
	Namespace  string        `json:"namespace"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	Ref        string        `json:"ref"`

	target string // the repository by the member's path
}

// pins are the members that other tools can pull: those that are not nested
// indexes themselves, where they were found.
func (w *walker) pins(root *node) []pin {
	nodes := slices.DeleteFunc(w.memberNodes(root), func(n *node) bool {
		return slices.ContainsFunc(n.children, (*node).member)
	})
	if len(nodes) == 0 {
		nodes = []*node{root}
	}
	pins := make([]pin, len(nodes))
	for i, n := range nodes {
		repository := w.found(n).String()
		pins[i] = pin{n.namespace, repository, n.Digest, repository + "@" + n.Digest.String(), n.repository.String()}
	}
	return slices.Compact(pins)
}

func printPins(out io.Writer, format string, pins []pin) error {
	if format == "json" {
		return printJSON(out, pins)
	}
	var b strings.Builder
	if format == "kustomize" {
		b.WriteString("images:\n")
	}
	named := map[string]string{}
	for _, p := range pins {
		name, line := "", p.Ref+"\n"
		switch format {
		case "env":
			name = variable(p.Namespace)
			line = name + "=" + line
		case "kustomize":
			name, line = p.target, p.kustomize()
		}
		if other, ok := named[name]; ok && name != "" {
			return fmt.Errorf("%s and %s would both be %s; choose with --member or use another --format", other, p.Ref, name)
		}
		named[name] = p.Ref
		b.WriteString(line)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// kustomize is an entry of images in a kustomization.
func (p pin) kustomize() string {
	entry := "- name: " + p.target + "\n"
	if p.Repository != p.target {
		entry += "  newName: " + p.Repository + "\n"
	}
	return entry + "  digest: " + p.Digest.String() + "\n"
}

var notInVariables = regexp.MustCompile(`[^A-Z0-9]+`)

// variable is a namespace as the name of an environment variable.
func variable(namespace string) string {
	if namespace == "" {
		return "IMAGE"
	}
	name := notInVariables.ReplaceAllString(strings.ToUpper(namespace), "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name + "_IMAGE"
}
