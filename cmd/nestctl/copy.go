package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
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
}

func newCopy(s *settings) *cobra.Command {
	o := copyOptions{settings: s}
	c := &cobra.Command{
		Use:   "copy SRC DST",
		Short: "Copy a bundle with its members, or any image, between registries and layouts",
		Long: `Copy a bundle with its members, or any image or artifact, between registries
and OCI layouts. Members are placed below DST's repository under the child
namespaces that they have; the index keeps its bytes and its digest.

SRC and DST are references, or oci-layout:DIR[:TAG], or oci-archive:FILE[:TAG].
An image of a layout is named as the layout names it, which may be a whole name,
or with @ by digest; oci-archive:- is an archive from standard input.
What is at DST already is not sent again, so that a copy that was interrupted
goes on where it stopped. The tag comes last.`,
		Example: `  nestctl copy test.example.com/org/app:v1 registry.example.com/prod/app:v1
  nestctl copy --referrers registry.example.com/org/app:v1 oci-archive:app.tar`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.allow(cmd, o.concurrent)
			return o.run(cmd.Context(), args[0], args[1], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.platform, "platform", "", "only images of this platform (default: all)")
	f.StringArrayVar(&o.members, "member", nil, "only this member and those below it, by path (web, a/b); may be repeated")
	f.StringVar(&o.strategy, "strategy", "auto", "how the registry is to take a nested index: carrier, reference, or auto: carrier, but reference where the registry says that it supports child namespaces")
	f.BoolVar(&o.referrers, "referrers", false, "also what refers to the root and to members: signatures, SBOMs, attestations")
	f.BoolVar(&o.sparse, "sparse", false, "leave out members that SRC does not have")
	f.BoolVar(&o.flatten, "flatten", false, "all into DST's one repository, in a plain index without child namespaces")
	f.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories, which keeps them from the registry's clean-up")
	f.BoolVar(&o.parents, "from-parents", false, "where a member's repository lacks content that those above it have, give that to the readers of the copied member")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be where, and copy nothing")
	f.IntVar(&o.concurrent, "max-concurrent", 16, "requests for content at once")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress")
	f.StringVar(&o.format, "format", "text", "text or json")
	return c
}

func (o *copyOptions) check() error {
	if err := cmp.Or(oneOf("format", o.format, "text", "json"), oneOf("strategy", o.strategy, "auto", "reference", "carrier"), checkMembers(o.members)); err != nil {
		return err
	}
	if o.concurrent < 1 {
		return usage.Errorf("--max-concurrent %d: must be at least 1", o.concurrent)
	}
	if o.flatten && o.strategy != "auto" {
		return usage.Errorf("--flatten and --strategy exclude each other: what is flat is a plain index")
	}
	return nil
}

// checkDestination checks DST before SRC is asked.
func (o *copyOptions) checkDestination(dst string) error {
	place, isLayout := parseLayout(dst)
	switch {
	case !isLayout:
		_, _, err := parseDestination(dst, "")
		return err
	case o.flatten || o.strategy != "auto":
		return usage.Errorf("--flatten and --strategy are for registries; a layout holds any index")
	case digest.Digest(place.reference).Validate() == nil:
		return usage.Errorf("%s: a copy has the digest of its source; name a tag, or none", place.path)
	case place.reference != "":
		return checkTag(place.path, place.reference)
	}
	return nil
}

// copied is the result, for people and in JSON.
type copied struct {
	Ref      string        `json:"ref"`
	Digest   digest.Digest `json:"digest"`
	Strategy string        `json:"strategy,omitempty"` // of a nested index: reference, carrier
	Members  []string      `json:"members"`
	Missing  []string      `json:"missing,omitempty"`          // left out
	Foreign  []string      `json:"nonDistributable,omitempty"` // layers that were left out
	Uploaded int64         `json:"uploaded"`                   // blobs
	There    int64         `json:"there"`                      // blobs that were there, or were mounted
	Bytes    int64         `json:"bytes"`                      // of blobs uploaded
	Seconds  float64       `json:"seconds"`
}

func (o *copyOptions) run(ctx context.Context, src, dst string, stdout, stderr io.Writer) (err error) {
	if err = cmp.Or(o.check(), o.checkDestination(dst)); err != nil {
		return err
	}
	started := time.Now()
	metrics := new(registry.Metrics)
	from, err := o.openSource(ctx, src, metrics)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	defer func() { err = from.renamed(err) }()
	from.w.Referrers, from.w.Sparse, from.w.Distributed = o.referrers, o.sparse, true
	from.w.Absent = "--sparse leaves out what SRC does not have"
	var result *copied
	switch place, isLayout := parseLayout(dst); {
	case o.dryRun:
		return o.plan(ctx, from, dst, stdout)
	case isLayout:
		result, err = o.toLayout(ctx, from, place, metrics, stderr)
	default:
		result, err = o.toRegistry(ctx, from, dst, metrics, stderr)
	}
	if err != nil {
		return err
	}
	for _, n := range from.missing() {
		result.Missing = append(result.Missing, from.shown(n.Repository.String()+"@"+n.Digest.String()))
	}
	for _, layer := range slices.Sorted(maps.Keys(from.w.Foreign)) {
		result.Foreign = append(result.Foreign, from.shown(layer))
	}
	result.Seconds = time.Since(started).Seconds()
	if o.format == "json" {
		return sanitize.WriteJSON(stdout, result)
	}
	return result.print(stdout)
}

// copySource is an open source: the walk from its root.
type copySource struct {
	w     *bundle.Walker
	root  *bundle.Node
	ref   string // the reference, or the layout's name
	tag   string
	from  *registry.Client // nil: a layout
	label string           // of a layout that does not say where its content is from
	close func() error
}

// openSource opens a registry's bundle or a layout's.
func (o *copyOptions) openSource(ctx context.Context, src string, metrics *registry.Metrics) (*copySource, error) {
	matcher, err := platformFlag(o.platform, o.platform == "")
	if err != nil {
		return nil, err
	}
	from := &copySource{ref: src, close: func() error { return nil }}
	s := bundle.Selection{Platform: matcher, Members: o.members}
	if place, ok := parseLayout(src); ok {
		var layout *layoutSource
		if layout, err = openLayoutSource(ctx, place); err != nil {
			return nil, err
		}
		from.close, from.tag, from.ref = layout.close, layout.tag(), layout.repository()
		if from.ref == layoutRepository {
			from.label = src
		}
		from.w, from.root, err = bundle.Open(ctx, nested.New(layout, nested.Options{}), from.ref+":"+cmp.Or(from.tag, "root"), s, o.concurrent)
		if err != nil {
			return nil, errors.Join(err, layout.close())
		}
		return from, nil
	}
	if from.ref, err = parseRef(src); err != nil {
		return nil, err
	}
	if !strings.Contains(from.ref, "@") {
		_, from.tag = bundle.SplitRef(from.ref)
	}
	if from.from, from.close, err = o.around(from.ref, metrics); err != nil {
		return nil, err
	}
	if from.w, from.root, err = bundle.Open(ctx, nested.New(from.from, nested.Options{}), from.ref, s, o.concurrent); err != nil {
		return nil, errors.Join(err, from.close())
	}
	return from, nil
}

// missing are the members that were left out.
func (s *copySource) missing() []*bundle.Node {
	return slices.DeleteFunc(s.root.All(), func(n *bundle.Node) bool { return !n.Missing })
}

// members are the references of the members at the destination.
func (s *copySource) members(m *mover) ([]string, error) {
	members := []string{}
	for _, n := range s.w.MemberNodes(s.root) {
		to, err := m.to(s.w, n)
		if err != nil {
			return nil, err
		}
		members = append(members, to.String()+"@"+n.Placed().Digest.String())
	}
	return members, nil
}

// toRegistry brings everything to a registry, and tags the root last.
func (o *copyOptions) toRegistry(ctx context.Context, from *copySource, dst string, metrics *registry.Metrics, stderr io.Writer) (_ *copied, err error) {
	parent, tag, err := parseDestination(dst, from.tag)
	if err != nil {
		return nil, err
	}
	registries, closeAll, err := o.around(parent.String(), metrics)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	show := newProgress(stderr, o.quiet || o.format == "json" && !isTerminal(stderr), metrics)
	defer show.stop()
	m := newMover(registries, parent, o.concurrent, show)
	m.source, m.single, m.plain, m.fromParents = from.from, o.flatten, o.flatten, o.parents
	if !o.noProtect && !o.flatten {
		m.protection = nested.Protect(from.root.Digest)
	}
	if !o.flatten {
		m.strategy = o.strategy
		warnOfCleanUp(stderr, o.strategy, o.noProtect)
	}
	if err = m.move(ctx, from.w, from.root); err != nil {
		return nil, err
	}
	how, d, err := m.finish(ctx, from.w, from.root, tag, o.strategy)
	if err != nil {
		return nil, err
	}
	members, err := from.members(m)
	if err != nil {
		return nil, err
	}
	ref := parent.String()
	if tag != "" {
		ref += ":" + tag
	}
	return &copied{Ref: ref, Digest: d, Strategy: how, Members: members, Uploaded: m.uploaded.Load(), There: m.there.Load(), Bytes: m.bytes.Load()}, nil
}

// parseDestination reads a reference without or with a tag, which else is the
// source's.
func parseDestination(dst, tag string) (auth.Repository, string, error) {
	if strings.Contains(dst, "@") {
		return auth.Repository{}, "", usage.Errorf("%s: a copy has the digest of its source; name a tag, or none", dst)
	}
	ref, err := parseRef(dst)
	if err != nil {
		return auth.Repository{}, "", err
	}
	name, given := bundle.SplitRef(ref)
	if strings.HasSuffix(dst, ":"+given) || tag == "" && given != "latest" {
		tag = given
	}
	repository, err := auth.ParseRepository(name)
	return repository, tag, err
}

// finish brings the root itself: everything that it points to is there.
func (m *mover) finish(ctx context.Context, w *bundle.Walker, root *bundle.Node, tag, strategy string) (how string, d digest.Digest, err error) {
	desc, data := bundle.Bare(root.Descriptor), m.document(root.Digest)
	var members []nested.Entry
	if m.plain {
		desc, data, err = m.flatten(w, root)
	} else {
		members, err = w.Source.Members(ctx, root.Descriptor) // by what it says: of them none may be selected
	}
	if err != nil {
		return "", "", err
	}
	if len(members) == 0 {
		if !oci.IsManifestOrIndex(desc.MediaType) {
			return "", "", fmt.Errorf("%s is neither a manifest nor an index", desc.Digest)
		}
		return "", desc.Digest, incomplete(m.parent, desc, putContent(ctx, m.registries, m.parent, tag, desc, data))
	}
	p := indexPublisher{m.registries, data, desc}
	if root.Carrier != nil && strategy == "auto" {
		return "carrier", desc.Digest, m.finishCarrier(ctx, root, p, tag)
	}
	how, err = p.publish(ctx, m.parent, tag, strategy)
	return how, desc.Digest, err
}

// finishCarrier brings a root that was carried as it was.
func (m *mover) finishCarrier(ctx context.Context, root *bundle.Node, p indexPublisher, tag string) error {
	carrier := root.Carrier
	data := m.document(carrier.Digest)
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	if manifest.Config.Digest != ocispec.DescriptorEmptyJSON.Digest { // somebody else's
		return p.carry(ctx, m.parent, tag)
	}
	if err := p.putCarried(ctx, m.parent); err != nil {
		return err
	}
	return putContent(ctx, m.registries, m.parent, tag, carrier.Descriptor, data)
}

func (c *copied) print(w io.Writer) error {
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
		last = "as " + c.Strategy + ", " + last
	}
	for _, line := range append(lines, last) {
		if _, err := fmt.Fprintln(w, sanitize.Text(line)); err != nil {
			return err
		}
	}
	return nil
}
