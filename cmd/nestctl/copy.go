package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/source"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// copyOptions are the flags of copy.
type copyOptions struct {
	*settings
	platform   string
	members    []string
	strategy   string
	format     string
	concurrent int
	referrers  bool
	sparse     bool
	flatten    bool
	noProtect  bool
	parents    bool
	dryRun     bool
	quiet      bool
	all        bool
	since      []string
	split      string

	several   bool             // sources, or --all: each keeps its path below DST
	selection bundle.Selection // of platform and members
}

// newCopy returns the command. Its --max-concurrent counts requests, while that
// of pull counts large blobs.
func newCopy(s *settings) *cobra.Command {
	o := copyOptions{settings: s}
	c := &cobra.Command{
		Use:   "copy SRC... DST",
		Short: "Copy a bundle with its members, or any image, between registries and layouts",
		Long: `Members go to the repositories below DST's that their child
namespaces name. The index keeps its bytes and its digest.

SRC and DST are references, or oci-layout:DIR[:TAG], or oci-archive:FILE[:TAG].
SRC may be a lock, too; see nestctl resolve.
An image in a layout is named as the layout names it, which may be a full name,
or with @ by digest. oci-archive:- reads an archive from standard input.

Several sources, and all images of a layout with --all, keep their names in a
layout. In a registry they keep their paths and tags below DST: org/app:v1 goes
to DST/org/app:v1. docs/airgap.md shows --all, --since and --split.

Content that is at DST already is not sent again: to complete an interrupted
copy, run the command again. The tag is written last.`,
		Example: `  nestctl copy test.example.com/org/app:v1 registry.example.com/prod/app:v1
  nestctl copy --referrers registry.example.com/org/app:v1 oci-archive:app.tar
  nestctl copy registry.example.com/org/app:v1 registry.example.com/org/db:v3 oci-archive:all.tar
  nestctl copy --all oci-archive:all.tar mirror.example.com/prod`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.allow(cmd, o.concurrent)
			last := len(args) - 1
			srcs := source.Distinct(args[:last])
			o.several = o.all || len(srcs) > 1
			return o.run(cmd.Context(), srcs, args[last], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.platform, "platform", "", "only this platform, `os/arch[/variant]` (default: all)")
	f.StringArrayVar(&o.members, "member", nil, "only the member at this `path`, such as web or a/b, and those below it (repeatable)")
	commandline.ChoiceVar(f, &o.strategy, "strategy", "auto", "how to publish a nested index; auto: reference if the registry supports child namespaces, else carrier", "auto", "reference", "carrier")
	f.BoolVar(&o.referrers, "referrers", false, "also copy signatures, SBOMs and attestations that refer to the root or to members")
	f.BoolVar(&o.sparse, "sparse", false, "leave out members that SRC does not have")
	f.BoolVar(&o.flatten, "flatten", false, "copy everything into DST's repository, under an index without child namespaces")
	f.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories; the registry's clean-up may then delete them")
	f.BoolVar(&o.parents, "from-parents", false, "also copy content that only repositories above a member's have; all who may read the copied member can then read it")
	f.BoolVar(&o.all, "all", false, "copy all images that a layout or an archive names")
	f.StringArrayVar(&o.since, "since", nil, "leave out what this earlier archive, layout or lock has, `SRC`, or left out itself (repeatable)")
	f.StringVar(&o.split, "split", "", "write an archive in parts of this `size`, such as 4GB: FILE.001 and so on, and FILE.SHA256SUMS")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be copied where, and copy nothing")
	f.IntVar(&o.concurrent, "max-concurrent", 16, "maximum `number` of concurrent requests for content")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show progress")
	commandline.ChoiceVar(f, &o.format, "format", "text", "format of the result", "text", "json")
	return c
}

// check checks what can be checked without a request.
func (o *copyOptions) check() (err error) {
	if o.selection, err = selectionFlags(o.platform, o.platform == "", o.members); err != nil {
		return err
	}
	if o.concurrent < 1 {
		return usage.Errorf("--max-concurrent %d: must be at least 1", o.concurrent)
	}
	if o.flatten && o.strategy != "auto" {
		return usage.Errorf("--flatten and --strategy exclude each other: --flatten makes a plain index")
	}
	return nil
}

// parseDestination reads and checks DST, before SRC is asked.
func (o *copyOptions) parseDestination(dst string) (to source.Destination, err error) {
	if to, err = source.ParseDestination(dst, o.several); err != nil {
		return to, err
	}
	if o.split != "" {
		if to.Place.PartSize, err = amount.ParseBytes(o.split); err != nil || !to.Place.Archive {
			return to, usage.Errorf("--split %s: must be a size, such as 4GB, for an archive", o.split)
		}
	}
	switch {
	case !to.IsLayout && len(o.since) > 0:
		err = usage.Errorf("--since is for archives and layouts; what a registry has is not sent again")
	case len(o.since) > 0 && o.dryRun:
		err = usage.Errorf("--since and --dry-run exclude each other")
	case to.IsLayout && (o.flatten || o.strategy != "auto"):
		err = usage.Errorf("--flatten and --strategy are for registries; a layout holds any index")
	}
	return to, err
}

// copied is the result, as text and as JSON. The field order is that of the
// JSON output.
type copied struct {
	Ref      string          `json:"ref"`
	Digest   digest.Digest   `json:"digest"`
	Strategy nested.Strategy `json:"strategy,omitempty"` // of a nested index: reference, carrier
	Members  []string        `json:"members"`
	Missing  []string        `json:"missing,omitempty"`          // left out
	Foreign  []string        `json:"nonDistributable,omitempty"` // layers that must not be distributed, left out
	Omitted  int             `json:"omitted,omitempty"`          // contents of --since
	Uploaded int64           `json:"uploaded"`                   // blobs
	There    int64           `json:"there"`                      // blobs that were at DST, or were mounted
	Bytes    int64           `json:"bytes"`                      // of uploaded blobs; into a layout, of all bundles
	Seconds  float64         `json:"seconds"`

	walked   *bundle.Walked
	together string // whose Bytes those are, if not of this one alone
}

// run reports the results and errors in the terms of the sources.
func (o *copyOptions) run(ctx context.Context, srcs []string, dst string, stdout, stderr io.Writer) (err error) {
	if err = o.check(); err != nil {
		return err
	}
	to, err := o.parseDestination(dst)
	if err != nil {
		return err
	}
	started := time.Now()
	metrics := new(registry.Metrics)
	dial := func(at auth.Repository) (*registry.Client, func() error, error) { return o.around(at, metrics) }
	all, err := source.OpenAll(ctx, srcs, o.all, dial)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.CloseAll(all)) }()
	defer func() { err = source.Explain(all, err) }()
	var results copies
	switch {
	case o.dryRun:
		return o.plan(ctx, all, to, stdout)
	case to.IsLayout:
		results, err = o.toLayout(ctx, all, to, metrics, stderr)
	default:
		results, err = o.toRegistry(ctx, all, to, metrics, stderr)
	}
	if err != nil {
		return err
	}
	for i, result := range results {
		result.leftOut(all[i])
		result.Seconds = time.Since(started).Seconds()
	}
	if !o.several {
		return show(stdout, o.format, results[0])
	}
	return show(stdout, o.format, results)
}

// copies are the results for several sources, in their order.
type copies []*copied

func (all copies) lines() (lines terminal.Table) {
	for _, c := range all {
		lines = append(lines, c.lines()...)
	}
	return lines
}

// leftOut notes what was left out, as the source calls it.
func (c *copied) leftOut(from *source.Source) {
	for _, n := range c.walked.Missing() {
		c.Missing = append(c.Missing, from.Shown(n.Repository.String()+"@"+n.Digest.String()))
	}
	for _, layer := range c.walked.NonDistributable {
		c.Foreign = append(c.Foreign, from.Shown(layer))
	}
}

// walk returns how far the source is walked, for layouts and registries alike.
func (o *copyOptions) walk() bundle.Options {
	return bundle.Options{
		Selection:            o.selection,
		Referrers:            o.referrers,
		Sparse:               o.sparse,
		OmitNonDistributable: true,
		Concurrent:           o.concurrent,
	}
}

func (o *copyOptions) bundle(show bundle.Progress) bundle.CopyOptions {
	return bundle.CopyOptions{
		Options:     o.walk(),
		FromParents: o.parents,
		Flatten:     o.flatten,
		Strategy:    nested.Strategy(o.strategy),
		NoProtect:   o.noProtect,
		Progress:    show,
	}
}

// toRegistry copies everything to a registry. The warnings come first, while
// the copy can still be interrupted; the tag is written last.
func (o *copyOptions) toRegistry(ctx context.Context, all []*source.Source, to source.Destination, metrics *registry.Metrics, stderr io.Writer) (results copies, err error) {
	show := progress.New(stderr, o.quiet, o.format == "json")
	defer show.Stop()
	copying, err := to.Copying(all, o.bundle(show))
	if err != nil {
		return nil, err
	}
	registries, closeAll, err := o.around(copying[0].Parent, metrics)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if !o.flatten {
		warnOfCleanUp(show, o.strategy, o.noProtect)
	}
	done, err := bundle.CopyAll(ctx, registries, copying)
	for i, c := range done {
		results = append(results, &copied{Ref: copying[i].Ref(), Digest: c.Digest, Strategy: c.Strategy, Members: c.Placed, Uploaded: c.Uploaded, There: c.There, Bytes: c.Bytes, walked: c.Walked})
	}
	return results, err
}

func (c *copied) lines() terminal.Table {
	lines := terminal.Table{terminal.Result(fmt.Sprintf("%s@%s", c.Ref, c.Digest))}
	for _, m := range c.Members {
		lines = append(lines, terminal.Line(terminal.Plain, "  "+m))
	}
	for _, m := range c.Missing {
		lines = append(lines, terminal.Line(terminal.Warning, "  left out, not found: "+m))
	}
	for _, layer := range c.Foreign {
		lines = append(lines, terminal.Line(terminal.Warning, "  left out, not to be distributed: "+layer))
	}
	last := fmt.Sprintf("%s uploaded, %s, %d there or mounted, in %.1f s", amount.Count(int(c.Uploaded), "blob"), amount.Bytes(c.Bytes), c.There, c.Seconds)
	if c.Uploaded+c.There == 0 { // a layout
		last = fmt.Sprintf("%s%s in %.1f s", amount.Bytes(c.Bytes), c.together, c.Seconds)
	}
	if c.Omitted > 0 {
		last += ", without " + amount.Count(c.Omitted, "content") + " of earlier ones"
	}
	if c.Strategy != "" {
		last = "as " + string(c.Strategy) + ", " + last
	}
	return append(lines, terminal.Line(terminal.Plain, last))
}
