package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
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

	selection bundle.Selection // of platform and members
}

// newCopy returns the command. Its --max-concurrent counts requests, while that
// of pull counts large blobs.
func newCopy(s *settings) *cobra.Command {
	o := copyOptions{settings: s}
	c := &cobra.Command{
		Use:   "copy SRC DST",
		Short: "Copy a bundle with its members, or any image, between registries and layouts",
		Long: `Copy a bundle with its members, or any image or artifact, between registries
and OCI layouts. Members go to the repositories below DST's that their child
namespaces name. The index keeps its bytes and its digest.

SRC and DST are references, or oci-layout:DIR[:TAG], or oci-archive:FILE[:TAG].
SRC may be a lock, too; see nestctl resolve.
An image in a layout is named as the layout names it, which may be a full name,
or with @ by digest. oci-archive:- reads an archive from standard input.

Content that is at DST already is not sent again: to complete an interrupted
copy, run the command again. The tag is written last.`,
		Example: `  nestctl copy test.example.com/org/app:v1 registry.example.com/prod/app:v1
  nestctl copy --referrers registry.example.com/org/app:v1 oci-archive:app.tar`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.allow(cmd, o.concurrent)
			return o.run(cmd.Context(), args[0], args[1], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.platform, "platform", "", "only this platform (default: all)")
	f.StringArrayVar(&o.members, "member", nil, "only this member and those below it, by path (web, a/b); repeatable")
	f.StringVar(&o.strategy, "strategy", "auto", "how to publish a nested index: carrier, reference, or auto (reference where the registry says that it supports child namespaces, else carrier)")
	f.BoolVar(&o.referrers, "referrers", false, "also copy what refers to the root and to members: signatures, SBOMs, attestations")
	f.BoolVar(&o.sparse, "sparse", false, "leave out members that SRC does not have")
	f.BoolVar(&o.flatten, "flatten", false, "copy everything into DST's repository, with a plain index without child namespaces")
	f.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories; the registry's clean-up may then delete them")
	f.BoolVar(&o.parents, "from-parents", false, "copy content that a member's repository lacks from the repositories above it; the copied member's readers can then read it")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be copied where, and copy nothing")
	f.IntVar(&o.concurrent, "max-concurrent", 16, "concurrent requests for content")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show progress")
	f.StringVar(&o.format, "format", "text", "text or json")
	return c
}

// check checks what can be checked without a request.
func (o *copyOptions) check() (err error) {
	if err = cmp.Or(oneOf("format", o.format, "text", "json"), oneOf("strategy", o.strategy, "auto", "reference", "carrier")); err != nil {
		return err
	}
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

// destination is what DST names.
type destination struct {
	name     string // as it was written
	isLayout bool
	place    layout.Place    // of a layout
	parent   auth.Repository // of a registry
	tag      string          // "" for the source's
}

// parseDestination reads and checks DST, before SRC is asked.
func (o *copyOptions) parseDestination(dst string) (to destination, err error) {
	to.name = dst
	const digestGiven = "%s: the digest of a copy is that of its source; name a tag, or none"
	if to.place, to.isLayout = layout.ParsePlace(dst); !to.isLayout {
		var ref auth.Reference
		if ref, to.tag, err = parseWritten(dst); err == nil && ref.Digest() != "" {
			err = usage.Errorf(digestGiven, dst)
		}
		to.parent = ref.Repository()
		return to, err
	}
	switch place := to.place; {
	case o.flatten || o.strategy != "auto":
		err = usage.Errorf("--flatten and --strategy are for registries; a layout holds any index")
	case digest.Digest(place.Reference).Validate() == nil:
		err = usage.Errorf(digestGiven, place.Path)
	case place.Reference != "":
		err = checkTag(place.Path, place.Reference)
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
	Uploaded int64           `json:"uploaded"`                   // blobs
	There    int64           `json:"there"`                      // blobs that were at DST, or were mounted
	Bytes    int64           `json:"bytes"`                      // of uploaded blobs
	Seconds  float64         `json:"seconds"`

	walked *bundle.Walked
}

// run reports the result and errors in the terms of the source.
func (o *copyOptions) run(ctx context.Context, src, dst string, stdout, stderr io.Writer) (err error) {
	if err = o.check(); err != nil {
		return err
	}
	to, err := o.parseDestination(dst)
	if err != nil {
		return err
	}
	started := time.Now()
	metrics := new(registry.Metrics)
	from, err := source.Open(ctx, src, func(at auth.Repository) (*registry.Client, func() error, error) { return o.around(at, metrics) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	defer func() { err = from.Explain(err) }()
	var result *copied
	switch {
	case o.dryRun:
		return o.plan(ctx, from, to, stdout)
	case to.isLayout:
		result, err = o.toLayout(ctx, from, to.place, metrics, stderr)
	default:
		result, err = o.toRegistry(ctx, from, to, metrics, stderr)
	}
	if err != nil {
		return err
	}
	for _, n := range result.walked.Missing() {
		result.Missing = append(result.Missing, from.Shown(n.Repository.String()+"@"+n.Digest.String()))
	}
	for _, layer := range result.walked.NonDistributable {
		result.Foreign = append(result.Foreign, from.Shown(layer))
	}
	result.Seconds = time.Since(started).Seconds()
	return show(stdout, o.format, result)
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

func (o *copyOptions) bundle(from *source.Source, show bundle.Progress) bundle.CopyOptions {
	return bundle.CopyOptions{
		Options:     o.walk(),
		From:        from.Registries,
		FromParents: o.parents,
		Flatten:     o.flatten,
		Strategy:    nested.Strategy(o.strategy),
		NoProtect:   o.noProtect,
		Progress:    show,
	}
}

// toRegistry copies everything to a registry. The warnings come first, while
// the copy can still be interrupted; the tag is written last.
func (o *copyOptions) toRegistry(ctx context.Context, from *source.Source, to destination, metrics *registry.Metrics, stderr io.Writer) (_ *copied, err error) {
	registries, closeAll, err := o.around(to.parent, metrics)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	show := progress.New(stderr, o.quiet, o.format == "json", metrics)
	defer show.Stop()
	if !o.flatten {
		warnOfCleanUp(stderr, o.strategy, o.noProtect)
	}
	tag := cmp.Or(to.tag, from.Tag)
	c, err := bundle.Copy(ctx, from.Bundle, registries, to.parent, tag, o.bundle(from, show))
	if err != nil {
		return nil, err
	}
	ref := to.parent.String()
	if tag != "" {
		ref += ":" + tag
	}
	return &copied{Ref: ref, Digest: c.Digest, Strategy: c.Strategy, Members: c.Placed, Uploaded: c.Uploaded, There: c.There, Bytes: c.Bytes, walked: c.Walked}, nil
}

func (c *copied) lines() []string {
	lines := []string{fmt.Sprintf("%s@%s", c.Ref, c.Digest)}
	for _, m := range c.Members {
		lines = append(lines, "  "+m)
	}
	for _, m := range c.Missing {
		lines = append(lines, "  left out, not found: "+m)
	}
	for _, layer := range c.Foreign {
		lines = append(lines, "  left out, not to be distributed: "+layer)
	}
	last := fmt.Sprintf("%s uploaded, %s, %d there or mounted, in %.1f s", amount.Count(int(c.Uploaded), "blob"), amount.Bytes(c.Bytes), c.There, c.Seconds)
	if c.Uploaded+c.There == 0 { // a layout
		last = fmt.Sprintf("%s in %.1f s", amount.Bytes(c.Bytes), c.Seconds)
	}
	if c.Strategy != "" {
		last = "as " + string(c.Strategy) + ", " + last
	}
	return append(lines, last)
}
