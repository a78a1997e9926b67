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

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/nested"
)

// resolveOptions are the flags of resolve.
type resolveOptions struct {
	members, files   []string
	platform, format string
	allowUnmatched   bool
}

func newResolve(s *settings) *cobra.Command {
	var o resolveOptions
	c := &cobra.Command{
		Use:   "resolve [-f FILE]... REF...",
		Short: "Print the pinned references of a bundle's members, or manifests with them",
		Long: `Print the pinned references of a bundle's members, for tools that know nothing
of child namespaces. A bundle without members resolves to itself.

With -f, print Kubernetes manifests, in which each image that is in a member's
repository has become the pinned reference of that member, whatever tag it had.
An image that is a bundle itself, by the tag that was given for it, becomes the
pinned reference of that. Images that have a digest, and images from elsewhere,
stay as they are. One that is below a bundle's repository without being a member
is an error. Images are the strings of keys "image", and in image volumes those
of "reference". Nothing else changes, not even comments or the order.`,
		Example: `  nestctl resolve --format kustomize registry.example.com/org/app:v1
  nestctl resolve -f deploy/ registry.example.com/org/app:v1 | kubectl apply -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(o.files) > 0 {
				return cobra.MinimumNArgs(1)(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if len(o.files) > 0 {
				return s.resolveManifests(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), o, args)
			}
			w, root, err := s.walk(cmd.Context(), args[0], o.platform, false, o.members)
			if err != nil {
				return err
			}
			return printPins(cmd.OutOrStdout(), o.format, w.pins(root))
		},
	}
	o.flags(c)
	return c
}

func (o *resolveOptions) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.members, "member", nil, "only this member and those below it, by path (web, a/b); may be repeated")
	c.Flags().StringVar(&o.platform, "platform", "", "platform of the members (default: this host's)")
	c.Flags().StringVar(&o.format, "format", "ref", "ref, json, env or kustomize")
	c.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "manifests: a file, a directory with *.yaml, *.yml and *.json, or - for standard input; may be repeated")
	c.Flags().BoolVar(&o.allowUnmatched, "allow-unmatched", false, "with -f, leave images below a bundle's repository that are no members as they are")
}

func (o *resolveOptions) check(cmd *cobra.Command) error {
	switch {
	case len(o.files) > 0 && cmd.Flags().Changed("format"):
		return usage.Errorf("--format and --filename exclude each other")
	case len(o.files) == 0 && o.allowUnmatched:
		return usage.Errorf("--allow-unmatched needs --filename")
	}
	return oneOf("format", o.format, "ref", "json", "env", "kustomize")
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
		return sanitize.WriteJSON(out, pins)
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
