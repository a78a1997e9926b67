package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// newIndex returns the commands about indexes. They share their flags; see
// indexOptions.
func newIndex(s *settings) *cobra.Command {
	c := &cobra.Command{Use: "index", Short: "Make, change and show nested indexes", Args: cobra.NoArgs}
	c.AddCommand(newIndexCreate(s), newIndexAdd(s), newIndexRemove(s), newIndexShow(s), newIndexUnprotect(s))
	return c
}

// indexOptions are the flags of the commands that make an index.
type indexOptions struct {
	*settings
	tags              []string
	annotations       []string
	memberAnnotations []string
	artifactType      string
	strategy          string
	format            string
	property          bool
	dryRun            bool
	noProtect         bool
	replace           bool
}

// strategies are those of docs/spec.md, section 8. Unlike copy, publishing may
// also anchor.
var strategies = []string{"auto", "reference", "carrier", "anchor"}

func (o *indexOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.tags, "tag", nil, "additional tag for the index (repeatable)")
	f.StringVar(&o.strategy, "strategy", "auto", "how to publish the index: carrier, reference, anchor (also copy the members' content into DEST's repository, where all its readers can read it), or auto (reference where the registry says that it supports child namespaces, else carrier)")
	f.StringVar(&o.format, "format", "text", "text or json")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the index and push nothing")
	f.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories; the registry's clean-up may then delete them")
}

// memberFlags are the flags of commands that add members.
func (o *indexOptions) memberFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.annotations, "annotation", nil, "KEY=VALUE on the index (repeatable)")
	f.StringArrayVar(&o.memberAnnotations, "member-annotation", nil, "KEY=VALUE on each member's descriptor (repeatable)")
	f.StringVar(&o.artifactType, "artifact-type", "", "artifact type of the index")
	f.BoolVar(&o.property, "property", false, "write child namespaces also as the property that image-spec issue 1217 proposes")
}

// sourcesHelp is shared by create and add.
const sourcesHelp = `Each SOURCE is a new member of the index, by tag or digest, in a repository below
DEST's: registry/org/app/web:v1. NAME=SOURCE gives the member a name in the
index (org.opencontainers.image.ref.name). All sources are read before anything
is pushed, and the tag is written last.`

func newIndexCreate(s *settings) *cobra.Command {
	o := indexOptions{settings: s}
	c := &cobra.Command{
		Use:   "create DEST [NAME=]SOURCE...",
		Short: "Make an index of images and artifacts in repositories below its own",
		Long:  "DEST is the index, registry/org/app:v1.\n" + sourcesHelp,
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			add, err := o.additions(args[1:])
			if err != nil {
				return err
			}
			return o.run(cmd, args[0], func(ctx context.Context, registries *registry.Client, dest auth.Reference) (*bundle.Edit, error) {
				e := bundle.NewIndex(registries, dest.Repository())
				return e, e.Add(ctx, add.sources, add.options)
			})
		},
	}
	o.flags(c)
	o.memberFlags(c)
	return c
}

func newIndexAdd(s *settings) *cobra.Command {
	o := indexOptions{settings: s}
	c := &cobra.Command{
		Use:   "add DEST [NAME=]SOURCE...",
		Short: "Add members to an index; the tag moves to the new index",
		Long:  sourcesHelp,
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			add, err := o.additions(args[1:])
			if err != nil {
				return err
			}
			return o.run(cmd, args[0], func(ctx context.Context, registries *registry.Client, dest auth.Reference) (*bundle.Edit, error) {
				e, err := bundle.EditIndex(ctx, registries, dest)
				if err == nil {
					err = e.Add(ctx, add.sources, add.options)
				}
				return e, err
			})
		},
	}
	o.flags(c)
	o.memberFlags(c)
	c.Flags().BoolVar(&o.replace, "replace", false, "replace the entries that have the same child namespace")
	return c
}

func newIndexRemove(s *settings) *cobra.Command {
	o := indexOptions{settings: s}
	c := &cobra.Command{
		Use:   "remove DEST MEMBER...",
		Short: "Remove members from an index; the tag moves to the new index",
		Long:  "Each MEMBER is a child namespace, such as web or a/b, or a digest.",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, args[0], func(ctx context.Context, registries *registry.Client, dest auth.Reference) (*bundle.Edit, error) {
				e, err := bundle.EditIndex(ctx, registries, dest)
				for _, member := range args[1:] {
					if err == nil {
						err = e.Remove(member)
					}
				}
				return e, err
			})
		},
	}
	o.flags(c)
	return c
}

func newIndexShow(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "show REF",
		Short: "Print an index byte for byte, however it was published",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0])
			if err != nil {
				return err
			}
			b, err := s.open(cmd.Context(), nil, new(registry.Metrics), lock.Ref{Reference: ref})
			if err != nil {
				return err
			}
			if !images.IsIndexType(b.Root.MediaType) {
				return fmt.Errorf("%s is no index but %s", ref, b.Root.MediaType)
			}
			data, err := b.ReadRoot(cmd.Context())
			if err != nil {
				return err
			}
			text := string(data)
			if progress.IsTerminal(cmd.OutOrStdout()) {
				text = sanitize.Text(text) + "\n"
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
}

// created is the result, as text and as JSON.
type created struct {
	Ref      string          `json:"ref"`
	Digest   digest.Digest   `json:"digest"`
	Strategy nested.Strategy `json:"strategy"`
	Members  []string        `json:"members"`
}

// run makes an index through edit, and publishes it. The index is complete
// before anything is pushed, so that a mistake leaves nothing behind.
func (o *indexOptions) run(cmd *cobra.Command, arg string, edit func(context.Context, *registry.Client, auth.Reference) (*bundle.Edit, error)) (err error) {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	dest, err := o.check(arg)
	if err != nil {
		return err
	}
	registries, closeAll, err := o.around(dest.Repository(), new(registry.Metrics))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	e, err := edit(ctx, registries, dest)
	if err != nil {
		return err
	}
	index, desc, err := e.Bytes()
	if err != nil {
		return err
	}
	if o.dryRun {
		_, err = fmt.Fprintf(out, "%s\n", index)
		return err
	}
	warnOfCleanUp(cmd.ErrOrStderr(), o.strategy, o.noProtect)
	publish := bundle.PublishOptions{Strategy: nested.Strategy(o.strategy), NoProtect: o.noProtect}
	strategy, err := e.Publish(ctx, append([]string{dest.Tag()}, o.tags...), publish)
	if err != nil {
		return err
	}
	return show(out, o.format, created{dest.String(), desc.Digest, strategy, e.Members()})
}

// additions are what is added to an index.
type additions struct {
	sources []bundle.IndexSource
	options bundle.AddOptions
}

// additions reads the arguments and the flags about new members.
func (o *indexOptions) additions(args []string) (add additions, err error) {
	add.options = bundle.AddOptions{ArtifactType: o.artifactType, Property: o.property, Replace: o.replace}
	if add.options.Annotations, err = pairs("annotation", o.annotations); err != nil {
		return add, err
	}
	if add.options.MemberAnnotations, err = pairs("member-annotation", o.memberAnnotations); err != nil {
		return add, err
	}
	if err = add.options.Check(); err != nil {
		return add, err
	}
	add.sources, err = parseSources(args)
	return add, err
}

// check checks flags and destination before the first request.
func (o *indexOptions) check(arg string) (auth.Reference, error) {
	if err := cmp.Or(oneOf("strategy", o.strategy, strategies...), oneOf("format", o.format, "text", "json")); err != nil {
		return auth.Reference{}, err
	}
	dest, err := parseTag(arg)
	if err != nil {
		return dest, err
	}
	for _, t := range o.tags {
		if err := checkTag("--tag", t); err != nil {
			return dest, err
		}
	}
	return dest, bundle.CheckParent(dest.Repository())
}

func (c created) lines() []string {
	lines := []string{c.Ref + "@" + c.Digest.String()}
	for _, m := range c.Members {
		lines = append(lines, "  "+m)
	}
	return append(lines, fmt.Sprintf("as %s", c.Strategy))
}

// parseTag reads a reference by tag. A digest is refused: it would be the
// result, and cannot be chosen.
func parseTag(s string) (auth.Reference, error) {
	ref, err := parseRef(s)
	if err == nil && ref.Tag() == "" {
		err = usage.Errorf("%s: an index is published under a tag, not under a digest; name a tag", s)
	}
	return ref, err
}

// parseSources reads [NAME=]SOURCE. A reference cannot contain "=".
func parseSources(args []string) ([]bundle.IndexSource, error) {
	sources := make([]bundle.IndexSource, len(args))
	for i, arg := range args {
		name, text, named := strings.Cut(arg, "=")
		if !named {
			name, text = "", arg
		}
		ref, err := parseRef(text)
		if err != nil {
			return nil, err
		}
		sources[i] = bundle.IndexSource{Reference: ref, Name: name}
	}
	return sources, nil
}
