package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// maxNodes bounds the walk. A digest may stand under many namespaces, so that
// the library's bound on distinct digests does not bound the paths.
const maxNodes = 100_000

// briefs small requests count as much as a large one.
const briefs = 8

func weightOf(d ocispec.Descriptor) int64 {
	if nested.Brief(d) {
		return 1
	}
	return briefs
}

// fetcher is what a pull of package nested offers.
type fetcher interface {
	remotes.Fetcher
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Found(digest.Digest) (auth.Repository, bool)
	Members(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	FetchFrom(context.Context, ocispec.Descriptor, auth.Repository, ...auth.Repository) (io.ReadCloser, error)
	Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
	Carrier() (ocispec.Descriptor, bool)
}

var _ fetcher = (*nested.Fetcher)(nil)

// walker walks from the root to everything that is selected.
type walker struct {
	fetcher fetcher
	top     auth.Repository // the root's
	selection
	limiter *semaphore.Weighted
	// fetch brings a node's content. It is called once for a digest, and only
	// for documents unless blobs are visited too.
	fetch func(context.Context, *node) error
	blobs bool
	// referrers tells whether to walk to what refers to documents, too.
	referrers bool
	// sparse leaves out members that are not there.
	sparse bool
	// absent, when given, is what can be done about them.
	absent string
	// home, when given, says in which repository a manifest is to be taken to be,
	// with its config and layers, in place of the one of its path.
	home func(*node) (auth.Repository, error)
	// distributed leaves out what is not to be distributed, into foreign.
	distributed bool
	foreign     map[string]bool // repository@digest
	// visited, when given, is called when a node and all below it is done.
	visited func(*node) error

	ctx     context.Context // of the whole walk: one failure ends it
	fail    context.CancelCauseFunc
	mu      sync.Mutex
	nodes   int
	entries map[string]*node // of indexes, by namespace and digest
	fetches map[kindOf]func() error
	listed  map[listing]bool // whose referrers were asked for
	passed  []string         // what is not selected, for the error
	skipped map[string]bool  // the repositories of what is not selected
}

// kindOf is content as a document or as a blob: a registry keeps them apart.
type kindOf struct {
	digest   digest.Digest
	document bool
}

func (n *node) kindOf() kindOf { return kindOf{n.Digest, oci.IsManifestOrIndex(n.MediaType)} }

// listing is a list of referrers.
type listing struct {
	subject digest.Digest
	at      auth.Repository
}

// open resolves a reference and returns the root and a walker from it.
func open(ctx context.Context, resolver *nested.Resolver, ref string, s selection, concurrent int) (*walker, *node, error) {
	name, desc, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	f, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	repository, _ := splitRef(name)
	root, err := auth.ParseRepository(repository)
	if err != nil {
		return nil, nil, err
	}
	w := &walker{
		fetcher:   f.(fetcher),
		top:       root,
		selection: s,
		limiter:   semaphore.NewWeighted(int64(concurrent) * briefs),
		fetches:   map[kindOf]func() error{},
	}
	w.fetch = func(ctx context.Context, n *node) error {
		_, err := w.fetcher.Children(ctx, n.Descriptor)
		return err
	}
	return w, &node{Entry: nested.Entry{Descriptor: desc}, repository: root}, nil
}

// visitAll visits everything from the root on. It is an error when nothing is
// selected.
func (w *walker) visitAll(ctx context.Context, root *node) error {
	w.nodes, w.entries, w.listed, w.passed, w.skipped = 0, map[string]*node{}, map[listing]bool{}, nil, map[string]bool{}
	w.ctx, w.fail = context.WithCancelCause(ctx)
	defer w.fail(nil)
	if err := w.visit(root); err != nil {
		w.fail(err)
		return context.Cause(w.ctx) // the failure that ended it, not what it ended
	}
	return w.nothing(root)
}

// visit brings a node and what is below it.
func (w *walker) visit(n *node) error {
	if oci.IsManifestOrIndex(n.MediaType) || w.blobs {
		err := w.bring(n)
		if n.missing = w.sparse && n.entry && errdefs.IsNotFound(err); n.missing {
			return nil
		}
		if n.entry && w.absent != "" && errdefs.IsNotFound(err) {
			err = fmt.Errorf("%w; %s", err, w.absent)
		}
		if err != nil {
			w.fail(err)
			return err
		}
	}
	if oci.IsManifestOrIndex(n.MediaType) {
		if err := w.expand(n); err != nil {
			w.fail(err)
			return err
		}
		var group errgroup.Group
		for _, below := range slices.Concat(n.children, n.referrers) {
			if !below.Carried {
				group.Go(below.visit)
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if index := n.carried(); index != nil {
			carrier := *n
			n.Descriptor, n.children, n.referrers, n.carrier = index.Descriptor, nil, nil, &carrier // it takes the carrier's place
			n.home = auth.Repository{}
			return w.visit(n)
		}
	}
	if w.visited == nil {
		return nil
	}
	err := w.visited(n)
	if err != nil {
		w.fail(err)
	}
	return err
}

// bring fetches a node's content, once however many paths lead to it.
func (w *walker) bring(n *node) error {
	if err := nested.Unfollowed(n.repository, n.Descriptor); err != nil {
		return err
	}
	w.mu.Lock()
	fetch, ok := w.fetches[n.kindOf()]
	if !ok {
		fetch = sync.OnceValue(func() error {
			weight := weightOf(n.Descriptor)
			if err := w.limiter.Acquire(w.ctx, weight); err != nil {
				return err
			}
			defer w.limiter.Release(weight)
			return w.fetch(w.ctx, n)
		})
		w.fetches[n.kindOf()] = fetch
	}
	w.mu.Unlock()
	return fetch()
}

// expand finds the selected children of a document.
func (w *walker) expand(n *node) error {
	entries, err := w.fetcher.Children(w.ctx, n.Descriptor)
	if err != nil {
		return err
	}
	index := images.IsIndexType(n.MediaType)
	at := n.repository
	if w.home != nil && !index {
		if at, err = w.home(n); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if visited := w.blobs && w.selects(n); !index && !e.Carried && !visited {
			continue
		}
		repository, err := e.Child.In(at)
		if err != nil {
			return err
		}
		child := &node{Entry: e, namespace: path.Join(n.namespace, e.Child.String()), repository: repository, entry: index, aside: n.aside}
		if w.distributed && isForeign(e.MediaType) {
			w.leaveOut(child)
			continue
		}
		if index && !n.aside && !w.takes(child) {
			w.pass(child)
			continue
		}
		child.visit = sync.OnceValue(func() error { return w.visit(child) })
		if index && !n.aside {
			child = w.known(child)
		}
		if !slices.Contains(n.children, child) {
			n.children = append(n.children, child)
		}
	}
	if err := w.refer(n); err != nil {
		return err
	}
	return w.count(len(n.children) + len(n.referrers))
}

// selects tells whether a manifest is there for its own sake, and not only to
// see whether it is a carrier.
func (w *walker) selects(n *node) bool { return n.aside || w.wanted(n.namespace) }

// refer finds what refers to a document, where that is asked for: in the
// repository in which it is by its path, and in the one that served it. A list
// is asked for once. What is behind it stands aside from the graph, in nodes of
// its own: a referrer may point back to what it refers to.
func (w *walker) refer(n *node) error {
	if !w.referrers {
		return nil
	}
	for _, at := range slices.Compact([]auth.Repository{n.repository, w.found(n)}) {
		if !w.begin(listing{n.Digest, at}) {
			continue
		}
		referrers, err := w.fetcher.Referrers(w.ctx, n.Descriptor, at)
		if err != nil {
			return err
		}
		for _, d := range referrers {
			below := &node{Entry: nested.Entry{Descriptor: d}, namespace: n.namespace, repository: at, aside: true}
			below.visit = sync.OnceValue(func() error { return w.visit(below) })
			n.referrers = append(n.referrers, below)
		}
	}
	return nil
}

// begin tells whether a list was not asked for yet.
func (w *walker) begin(l listing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.listed[l]
	w.listed[l] = true
	return first
}

// known returns the node that stands for the same content under the same
// namespace, if there is one.
func (w *walker) known(n *node) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := n.namespace + "@" + n.Digest.String()
	if known, ok := w.entries[key]; ok {
		return known
	}
	w.entries[key] = n
	return n
}

// count adds nodes, within bounds.
func (w *walker) count(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes += n; w.nodes > maxNodes {
		return fmt.Errorf("the bundle has more than %d parts", maxNodes)
	}
	return nil
}

func (w *walker) pass(n *node) {
	const shown = 50
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skipped[n.repository.String()] = true
	if len(w.passed) < shown {
		w.passed = append(w.passed, strings.TrimSpace(n.namespace+" "+platformOf(n.Platform)))
	}
}

// nothing is the error when there is something below the root, but nothing
// that is selected.
func (w *walker) nothing(root *node) error {
	selected := func(member string) bool {
		return slices.ContainsFunc(root.all(), func(n *node) bool {
			inside := n.namespace == member || strings.HasPrefix(n.namespace, member+"/") || member == ""
			return inside && !images.IsIndexType(n.MediaType)
		})
	}
	wanted := w.members
	if len(wanted) == 0 {
		wanted = []string{""}
	}
	missing := slices.DeleteFunc(slices.Clone(wanted), selected)
	if len(missing) == 0 || len(w.passed) == 0 && len(w.members) == 0 {
		return nil
	}
	slices.Sort(w.passed)
	rest := "it has no members"
	if len(w.passed) > 0 {
		rest = "there is also: " + strings.Join(slices.Compact(w.passed), ", ") + "; choose with --member or --platform"
	}
	matches := strings.TrimSuffix("matches "+strings.Join(missing, ", "), " ")
	return missingError(fmt.Sprintf("nothing in %s@%s %s; %s", root.repository, root.Digest, matches, rest))
}

// missingError says that nothing is selected. Its class is errdefs.ErrNotFound.
type missingError string

func (e missingError) Error() string { return string(e) }

func (e missingError) Unwrap() error {
	return errdefs.ErrNotFound
}

// found is the repository that served a node, or where it is by its path.
func (w *walker) found(n *node) auth.Repository {
	if r, ok := w.fetcher.Found(n.Digest); ok {
		return r
	}
	return n.repository
}
