package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/sources"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// newIndex returns the commands about indexes. They share their flags; see
// indexOptions.
func newIndex(s *settings) *cobra.Command {
	c := &cobra.Command{Use: "index", Short: "Make, change and show nested indexes", Args: cobra.NoArgs,
		Example: "  nestctl index create registry.example.com/org/app:v1 registry.example.com/org/app/web:v1"}
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
	from              []string
	fromFormat        string
	copy, referrers   bool
	property          bool
	dryRun, cleanUp   bool
	noProtect, quiet  bool
	replace           bool
}

func (o *indexOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.tags, "tag", nil, "also give the index this `tag` (repeatable)")
	commandline.ChoiceVar(f, &o.strategy, "strategy", "auto", "how to publish the index; anchor: also copy the members' content into DEST's repository, where all its readers can read it; "+
		"auto: reference if the registry supports child namespaces, else carrier", "auto", "reference", "carrier", "anchor")
	commandline.ChoiceVar(f, &o.format, "format", "text", "format of the result", "text", "json")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the index and push nothing")
	f.BoolVar(&o.cleanUp, "clean-up", false, "delete the old index and the members that no remaining tag refers to, and print them to standard error")
	f.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories; the registry's clean-up may then delete them")
}

// memberFlags are the flags of commands that add members.
func (o *indexOptions) memberFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.annotations, "annotation", nil, "annotate the index with `key=value` (repeatable)")
	f.StringArrayVar(&o.memberAnnotations, "member-annotation", nil, "annotate each member's descriptor with `key=value` (repeatable)")
	f.StringVar(&o.artifactType, "artifact-type", "", "artifact `type` of the index")
	f.StringArrayVar(&o.from, "from", nil, "read sources from a `file`, a directory with *.yaml, *.yml and *.json, or - for standard input (repeatable)")
	commandline.ChoiceVar(f, &o.fromFormat, "from-format", "", "format of the files of --from (default: by content)", sources.Formats()...)
	f.BoolVar(&o.copy, "copy", false, "copy sources that are elsewhere to repositories below DEST's, and annotate their origin")
	f.BoolVar(&o.referrers, "referrers", false, "with --copy, also copy signatures, SBOMs and attestations that refer to the sources")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show the progress of copies")
	f.BoolVar(&o.property, "property", false, "write child namespaces also as the property that image-spec issue 1217 proposes")
}

// sourcesHelp is shared by create and add.
const sourcesHelp = `Each SOURCE is a new member of the index, by tag or digest, in a repository below
DEST's: registry/org/app/web:v1. NAME=SOURCE gives the member a name in the
index (org.opencontainers.image.ref.name). All sources are read before anything
is pushed, and the tag is written last.

With --copy a SOURCE may be anywhere. It is copied with all its platforms to
DEST/NAME, with its digest. NAME is by default the last component of its
repository, or as many as tell the sources apart.

--from reads sources from references, one a line (ko build --image-refs), the
metadata file of docker buildx bake, Compose files, and Kubernetes manifests,
such as rendered charts.`

const sourcesExample = `  nestctl index COMMAND registry.example.com/org/app:v1 --copy web=nginx:1.27
  helm template ./chart |
    nestctl index COMMAND registry.example.com/org/app:v1 --copy --from -`

// checkSources wants DEST, and a source here or in a file.
func (o *indexOptions) checkSources(cmd *cobra.Command, args []string) error {
	switch {
	case o.fromFormat != "" && len(o.from) == 0:
		return usage.Errorf("--from-format needs --from")
	case o.referrers && !o.copy:
		return usage.Errorf("--referrers needs --copy")
	case o.cleanUp && o.copy && o.dryRun:
		return usage.Errorf("--clean-up --dry-run: what goes is known only when the sources have been copied; leave out --copy or --dry-run")
	case stdins(o.from) > 1:
		return usage.Errorf("--from -: standard input can be read only once")
	}
	return cobra.MinimumNArgs(2-min(len(o.from), 1))(cmd, args)
}

func newIndexCreate(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "create DEST [NAME=]SOURCE...",
		Short: "Make an index of images and artifacts in repositories below its own, or copied there",
		Long:  "DEST is the index to make, registry/org/app:v1.\n" + sourcesHelp,
	}
	o := &indexOptions{settings: s}
	return withSources(c, o, func(ctx context.Context, at place) (*bundle.Edit, error) {
		e := bundle.NewIndex(at.registries, at.dest.Repository())
		if !o.cleanUp {
			return e, nil
		}
		return e, prune.Replace(ctx, at.registries, at.dest, e)
	})
}

func newIndexAdd(s *settings) *cobra.Command {
	o := &indexOptions{settings: s}
	c := &cobra.Command{
		Use:   "add DEST [NAME=]SOURCE...",
		Short: "Add members to an index; the tag moves to the new index",
		Long:  sourcesHelp,
	}
	c.Flags().BoolVar(&o.replace, "replace", false, "replace the entries that have the same child namespace")
	return withSources(c, o, func(ctx context.Context, at place) (*bundle.Edit, error) {
		return bundle.EditIndex(ctx, at.registries, at.dest)
	})
}

// withSources completes a command that adds members to the index that begin
// returns. All files are read before the first request.
func withSources(c *cobra.Command, o *indexOptions, begin func(context.Context, place) (*bundle.Edit, error)) *cobra.Command {
	c.Example = strings.ReplaceAll(sourcesExample, "COMMAND", c.Name())
	c.Args = o.checkSources
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return o.run(cmd, args[0], func(ctx context.Context, at place) (*bundle.Edit, error) {
			from, options, err := o.additions(cmd, at, args[1:])
			if err != nil {
				return nil, err
			}
			e, err := begin(ctx, at)
			if err == nil {
				err = e.Add(ctx, from, options)
			}
			return e, err
		})
	}
	o.flags(c)
	o.memberFlags(c)
	return c
}

func newIndexRemove(s *settings) *cobra.Command {
	o := indexOptions{settings: s}
	c := &cobra.Command{
		Use:     "remove DEST MEMBER...",
		Short:   "Remove members from an index; the tag moves to the new index",
		Long:    "Each MEMBER is a child namespace, such as web or a/b, or a digest.",
		Example: "  nestctl index remove registry.example.com/org/app:v1 web",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, args[0], func(ctx context.Context, at place) (*bundle.Edit, error) {
				e, err := bundle.EditIndex(ctx, at.registries, at.dest)
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
		Use:     "show REF",
		Short:   "Print an index byte for byte, however it was published",
		Example: "  nestctl index show registry.example.com/org/app:v1 > index.json",
		Args:    cobra.ExactArgs(1),
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
			if terminal.IsTerminal(cmd.OutOrStdout()) {
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
	Foreign  []string        `json:"nonDistributable,omitempty"` // layers of copies, left out
}

// place is where an index is made.
type place struct {
	dest       auth.Reference
	registries *registry.Client // of dest
	from       func(auth.Repository) (*registry.Client, error)
	copies     bundle.Progress
}

// run makes an index through edit, publishes it, and prints the result.
func (o *indexOptions) run(cmd *cobra.Command, arg string, edit func(context.Context, place) (*bundle.Edit, error)) error {
	dest, err := o.check(arg)
	if err != nil {
		return err
	}
	made, err := o.make(cmd, dest, edit)
	if made != nil {
		err = cmp.Or(show(cmd.OutOrStdout(), o.format, made), err)
	}
	return err
}

// make makes an index and publishes it; nil for a dry run. The index is complete
// before anything is pushed, so that a mistake leaves nothing behind.
func (o *indexOptions) make(cmd *cobra.Command, dest auth.Reference, edit func(context.Context, place) (*bundle.Edit, error)) (_ *created, err error) {
	ctx, metrics := cmd.Context(), new(registry.Metrics)
	from, closeAll := o.aroundEach(metrics)
	defer func() { err = cmp.Or(err, closeAll()) }() // a joined error would not be known as one about a flag
	registries, err := from(dest.Repository())
	if err != nil {
		return nil, err
	}
	copies := progress.New(cmd.ErrOrStderr(), o.quiet || !o.copy || o.dryRun, o.format == "json")
	defer copies.Stop()
	e, err := edit(ctx, place{dest, registries, from, copies})
	if err != nil {
		return nil, err
	}
	index, desc, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	tags := append([]string{dest.Tag()}, o.tags...)
	clean := func() error {
		if !o.cleanUp {
			return nil
		}
		return prune.CleanUp(ctx, registries, dest.Repository(), e, tags, o.dryRun, linesTo(cmd.ErrOrStderr()))
	}
	if o.dryRun {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", index)
		return nil, cmp.Or(err, clean())
	}
	warnOfCleanUp(copies, o.strategy, o.noProtect)
	publish := bundle.PublishOptions{Strategy: nested.Strategy(o.strategy), NoProtect: o.noProtect}
	strategy, err := e.Publish(ctx, tags, publish)
	if err != nil {
		return nil, err
	}
	return &created{dest.String(), desc.Digest, strategy, e.Members(), e.NonDistributable()}, clean()
}

// additions reads the arguments, files and flags about new members.
func (o *indexOptions) additions(cmd *cobra.Command, at place, args []string) (from []bundle.IndexSource, options bundle.AddOptions, err error) {
	options = bundle.AddOptions{ArtifactType: o.artifactType, Property: o.property, Replace: o.replace}
	if o.copy {
		options.Copy = &bundle.CopySources{From: at.from, Referrers: o.referrers, Progress: at.copies}
	}
	if options.Annotations, err = pairs("annotation", o.annotations); err != nil {
		return nil, options, err
	}
	if options.MemberAnnotations, err = pairs("member-annotation", o.memberAnnotations); err != nil {
		return nil, options, err
	}
	if err = options.Check(); err != nil {
		return nil, options, err
	}
	all, err := sources.Read(cmd.Context(), cmd.InOrStdin(), args, o.from,
		sources.Options{Format: o.fromFormat, Below: at.dest.Repository(), Parse: parseWritten})
	for _, source := range all {
		from = append(from, bundle.IndexSource(source))
	}
	return from, options, err
}

// check checks flags and destination before the first request.
func (o *indexOptions) check(arg string) (auth.Reference, error) {
	dest, err := parseTag(arg)
	if err != nil {
		return dest, err
	}
	for _, t := range o.tags {
		if err := bundle.CheckTag("--tag", t); err != nil {
			return dest, err
		}
	}
	return dest, bundle.CheckParent(dest.Repository())
}

func (c *created) lines() terminal.Table {
	lines := terminal.Table{terminal.Result(c.Ref + "@" + c.Digest.String())}
	for _, m := range c.Members {
		lines = append(lines, terminal.Line(terminal.Plain, "  "+m))
	}
	for _, layer := range c.Foreign {
		lines = append(lines, terminal.Line(terminal.Warning, "  left out, not to be distributed: "+layer))
	}
	return append(lines, terminal.Line(terminal.Plain, fmt.Sprintf("as %s", c.Strategy)))
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
