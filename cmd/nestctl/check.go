package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// checkOptions are the flags of check.
type checkOptions struct {
	*settings
	platform string
	members  []string
	strict   bool
	format   string
}

func newCheck(s *settings) *cobra.Command {
	o := checkOptions{settings: s}
	c := &cobra.Command{
		Use:   "check REF",
		Short: "Find out whether a bundle is whole, and whether you would be let in",
		Long: `Find out whether a bundle is whole, and whether you would be let in.

Reads every index and manifest, asks for every other blob by HEAD, and does not
stop at the first failure. Prints per repository which credential was used and
what the registry made of it, per member where it was found and what is
missing, then the findings, and as warnings what other clients or a stricter
registry would object to. Warnings do not change the exit status.`,
		Example: `  nestctl check registry.example.com/org/app:v1
  nestctl check --member web --format json registry.example.com/org/app:v1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.platform, "platform", "", "only members of this platform (default: all)")
	f.StringArrayVar(&o.members, "member", nil, "only this member and those below it, by path (web, a/b); may be repeated")
	f.BoolVar(&o.strict, "strict", false, "also ask whether the repository of an index holds the members' manifests, as some registries insist")
	f.StringVar(&o.format, "format", "text", "text or json")
	return c
}

func (o *checkOptions) run(ctx context.Context, arg string, stdout io.Writer) (err error) {
	ref, err := parseRef(arg)
	if err != nil {
		return err
	}
	if err = oneOf("format", o.format, "text", "json"); err != nil {
		return err
	}
	platform, err := platformFlag(o.platform, o.platform == "")
	if err != nil {
		return err
	}
	if err = checkMembers(o.members); err != nil {
		return err
	}
	hosts, remove, err := hostsAround(o.hostsDir, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	report, err := o.check(ctx, hosts, ref, bundle.Selection{Platform: platform, Members: o.members})
	if err != nil {
		return err
	}
	if o.format == "json" {
		err = sanitize.WriteJSON(stdout, report)
	} else {
		err = report.print(stdout)
	}
	return errors.Join(err, report.err())
}

// check finds out all there is to report.
func (o *checkOptions) check(ctx context.Context, hosts, ref string, s bundle.Selection) (*checkReport, error) {
	metrics := new(registry.Metrics)
	stores := userStores(metrics)
	registries := o.registriesWith(stores, hosts, metrics)
	defer registries.CloseIdleConnections()
	c := newChecker(registries, stores, o.strict)
	w, root, err := bundle.Open(ctx, nested.New(registries, nested.Options{Complete: true}), ref, s, atOnce)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return c.unresolved(ctx, ref, err)
	}
	c.asBlob = metrics.Blobs.Load() > 0 // a root that was read as a blob is stored as one
	parts, err := c.walk(ctx, w, root)
	if err != nil {
		return nil, err
	}
	return c.report(ctx, ref, root, parts), nil
}

// atOnce is the number of requests at once.
const atOnce = 8

// checkSource is what a walk asks, and where else content may be.
type checkSource interface {
	bundle.Source
	Ask(context.Context, ocispec.Descriptor, func(auth.Repository) error) (auth.Repository, error)
}

// checker looks at all of a bundle. For the walker it is a fetcher of what
// never fails: what does is remembered, and holds nothing.
type checker struct {
	checkSource
	walker      *bundle.Walker
	registries  *registry.Client
	credentials auth.Source
	strict      bool
	asBlob      bool // the root is stored as a blob

	mu        sync.Mutex
	documents map[digest.Digest]checkedDocument
	sizes     map[checkRequest]func() (int64, error)
	access    map[auth.Repository]*access
}

func newChecker(registries *registry.Client, credentials auth.Source, strict bool) *checker {
	return &checker{
		registries:  registries,
		credentials: credentials,
		strict:      strict,
		documents:   map[digest.Digest]checkedDocument{},
		sizes:       map[checkRequest]func() (int64, error){},
		access:      map[auth.Repository]*access{},
	}
}

// checkedDocument is an index or a manifest that was asked for.
type checkedDocument struct {
	err     error
	subject *ocispec.Descriptor
}

// walk reads all documents, and then asks for everything else: by then it is
// known where content that is listed more than once may be.
func (c *checker) walk(ctx context.Context, w *bundle.Walker, root *bundle.Node) ([]*checkedPart, error) {
	c.walker, c.checkSource = w, w.Source.(checkSource)
	w.Source, w.Fetch = c, c.read
	var nothing bundle.MissingError
	switch err := w.VisitAll(ctx, root); {
	case errors.As(err, &nothing) && c.failed(): // it may be below that
	case err != nil:
		return nil, err
	}
	var parts []*checkedPart
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, n := range root.All() {
		p := &checkedPart{Node: n, err: c.document(n.Digest).err, blobs: c.blobsOf(ctx, n, root)}
		parts = append(parts, p)
		for _, look := range c.looks(groupCtx, p) {
			group.Go(func() error {
				look()
				return groupCtx.Err()
			})
		}
	}
	return parts, group.Wait()
}

// read reads a document for the walker.
func (c *checker) read(ctx context.Context, n *bundle.Node) error {
	data, err := bundle.FetchAll(ctx, c.checkSource, n.Descriptor)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.heard(ctx, n.Repository, c.walker.Found(n), err)
	if err != nil {
		err = bundle.Explain(c.walker, n, err)
	}
	var document struct {
		Subject *ocispec.Descriptor `json:"subject"`
	}
	if json.Unmarshal(data, &document) != nil {
		document.Subject = nil // Children says what is wrong
	}
	c.remember(n.Digest, checkedDocument{err, document.Subject})
	return nil
}

// Children hides a failure from the walk.
func (c *checker) Children(ctx context.Context, desc ocispec.Descriptor) ([]nested.Entry, error) {
	d := c.document(desc.Digest)
	if d.err != nil {
		return nil, nil
	}
	entries, err := c.checkSource.Children(ctx, desc)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		d.err = err
		c.remember(desc.Digest, d)
	}
	return entries, nil
}

func (c *checker) document(d digest.Digest) checkedDocument {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.documents[d]
}

func (c *checker) remember(d digest.Digest, document checkedDocument) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.documents[d] = document
}

// failed tells whether any document could not be had.
func (c *checker) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.documents {
		if d.err != nil {
			return true
		}
	}
	return false
}

// checkedPart is what was found out about a node.
type checkedPart struct {
	*bundle.Node
	err     error // of a document
	blobs   []*checkedBlob
	subject error    // why the subject is not there
	apart   []string // members that the index's own repository does not have
}

// checkedBlob is content other than documents.
type checkedBlob struct {
	nested.Entry
	of     *bundle.Node // what lists it, or itself when an index does
	served auth.Repository
	err    error
}

// blobsOf lists what has to be there beside the documents.
func (c *checker) blobsOf(ctx context.Context, n, root *bundle.Node) []*checkedBlob {
	if !oci.IsManifestOrIndex(n.MediaType) {
		return []*checkedBlob{{Entry: n.Entry, of: n}}
	}
	var blobs []*checkedBlob
	list := func(of *bundle.Node, carried bool) {
		entries, _ := c.Children(ctx, of.Descriptor) // which the walk has read
		seen := map[digest.Digest]bool{}
		for _, e := range entries {
			if !seen[e.Digest] && (carried || !e.Carried) {
				blobs = append(blobs, &checkedBlob{Entry: e, of: of})
			}
			seen[e.Digest] = true
		}
	}
	if n.Carrier != nil {
		list(n.Carrier, false) // the walk has read what it carries
	}
	if carrier, ok := c.Carrier(); ok && n == root {
		list(&bundle.Node{Entry: nested.Entry{Descriptor: carrier}, Repository: root.Repository}, true)
	}
	if images.IsManifestType(n.MediaType) && c.walker.Wanted(n.Namespace) {
		list(n, false)
	}
	return blobs
}
