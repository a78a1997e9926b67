package bundle

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// MaxNodes bounds a walk. The bound of package nested is on distinct digests;
// one digest may have many paths.
const MaxNodes = 100_000

// smallWeight small requests count as much as a large one.
const smallWeight = 8

func weightOf(d ocispec.Descriptor) int64 {
	if registry.IsSmall(d) {
		return 1
	}
	return smallWeight
}

// Walk goes from the root to everything that is selected, concurrently, and
// fetches each content once however many paths lead to it. When nothing is
// selected, the error is a [MissingError], and the result is returned with it.
// Other errors are those of the source and of the visitor; the first one ends
// the walk.
func (b *Bundle) Walk(ctx context.Context, o Options, v Visitor) (*Walked, error) {
	if o.Concurrent == 0 {
		o.Concurrent = DefaultConcurrent
	}
	w := walk{
		bundle:  b,
		options: o,
		visitor: v.fill(b),
		fetches: &fetches{limiter: semaphore.NewWeighted(int64(o.Concurrent) * smallWeight)},
	}
	if o.Blobs && (len(o.Members) > 0 || b.Expected != nil) {
		first := w
		first.options.Blobs, first.options.Carrier, first.options.Attached = false, false, false
		first.visitor.Done, first.visitor.Expanded = doNothing, func(*Node) {}
		if _, err := first.run(ctx); err != nil {
			return nil, err
		}
	}
	return w.run(ctx)
}

// walk is one walk. Its parameters do not change.
type walk struct {
	bundle  *Bundle
	options Options
	visitor Visitor
	fetches *fetches

	ctx  context.Context // of the walk: one failure ends it
	fail context.CancelCauseFunc

	*notes
}

// notes are what a walk has found so far.
type notes struct {
	mu      sync.Mutex
	nodes   int
	entries map[string]*Node // of indexes, by namespace and digest
	listed  map[listing]bool // whose referrers were requested
	found   *found
}

// fetches are the contents that have been or are being fetched.
type fetches struct {
	limiter *semaphore.Weighted
	once    flight.Once[contentKey, struct{}]
}

// listing is a list of referrers.
type listing struct {
	subject digest.Digest
	at      auth.Repository
}

// run walks once.
func (w walk) run(ctx context.Context) (*Walked, error) {
	w.ctx, w.fail = context.WithCancelCause(ctx)
	defer w.fail(nil)
	root := &Node{Entry: nested.Entry{Descriptor: w.bundle.Root}, IsRoot: true, Repository: w.bundle.Repository}
	w.notes = &notes{entries: map[string]*Node{}, listed: map[listing]bool{}, found: newFound()}
	if err := w.visit(root); err != nil {
		w.fail(err)
		return nil, context.Cause(w.ctx) // the failure that ended it, not what it ended
	}
	walked := w.found.walked(root, w.options.Selection)
	if err := walked.nothing(); err != nil {
		return walked, err
	}
	if w.bundle.Expected != nil {
		if err := w.bundle.Expected(walked); err != nil {
			return nil, err
		}
	}
	if w.options.Carrier {
		return walked, w.visitCarrier(root)
	}
	return walked, nil
}

// visit fetches a node and visits what is below it.
func (w *walk) visit(n *Node) (err error) {
	defer func() {
		if err != nil {
			w.fail(err)
		}
	}()
	if n.isManifestOrIndex() || w.options.Blobs {
		if err = w.reach(n); err != nil || n.Missing {
			return err
		}
	}
	if n.isManifestOrIndex() {
		if err = w.expand(n); err != nil {
			return err
		}
		if err = visitAll(slices.Concat(n.Children, n.Referrers)); err != nil {
			return err
		}
		if index := n.carried(); index != nil {
			carrier := *n
			n.Descriptor, n.Children, n.Referrers, n.Carrier = index.Descriptor, nil, nil, &carrier // it takes the carrier's place
			return w.visit(n)
		}
	}
	return w.visitor.Done(w.ctx, n)
}

// visitAll visits nodes concurrently. An index takes the place of its carrier
// when the carrier has been visited.
func visitAll(nodes []*Node) error {
	var group errgroup.Group
	for _, n := range nodes {
		if !n.Carried {
			group.Go(n.visit)
		}
	}
	return group.Wait()
}

// reach fetches a node, or marks it as missing where the options allow it.
func (w *walk) reach(n *Node) error {
	err := w.bring(n)
	absent := n.Listed && errdefs.IsNotFound(err)
	switch {
	case absent && w.options.Sparse:
		n.Missing = true
		w.visitor.Expanded(n)
		return nil
	case absent:
		return &AvoidableError{Err: err, By: BySparse}
	}
	return err
}

// bring fetches a node's content, once however many paths lead to it.
func (w *walk) bring(n *Node) error {
	if err := nested.Unfollowed(n.Repository, n.Descriptor); err != nil {
		return err
	}
	_, err := w.fetches.once.Do(n.key(), func() (struct{}, error) {
		weight := weightOf(n.Descriptor)
		if err := w.fetches.limiter.Acquire(w.ctx, weight); err != nil {
			return struct{}{}, err
		}
		defer w.fetches.limiter.Release(weight)
		return struct{}{}, w.visitor.Fetch(w.ctx, n)
	})
	return err
}

// expand finds the selected children of a manifest or an index.
func (w *walk) expand(n *Node) error {
	entries, err := w.visitor.Children(w.ctx, n)
	if err != nil {
		return err
	}
	at := n.Repository
	if !images.IsIndexType(n.MediaType) {
		if at, err = w.visitor.Home(w.ctx, n); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := w.add(n, at, e); err != nil {
			return err
		}
	}
	if err := w.refer(n, n.Repository, w.bundle.Found(n)); err != nil {
		return err
	}
	w.visitor.Expanded(n)
	return w.count(len(n.Children) + len(n.Referrers))
}

// add adds an entry to the children of a node, if it is selected.
func (w *walk) add(n *Node, at auth.Repository, e nested.Entry) error {
	index := images.IsIndexType(n.MediaType)
	if visited := w.options.Blobs && w.options.isSelected(n); !index && !e.Carried && !visited {
		return nil
	}
	repository, err := e.Child.In(at)
	if err != nil {
		return err
	}
	child := &Node{Entry: e, Namespace: path.Join(n.Namespace, e.Child.String()), Repository: repository, Listed: index, Aside: n.Aside}
	chosen := index && !n.Aside
	switch {
	case w.options.OmitNonDistributable && IsNonDistributable(e.MediaType):
		w.found.omit(child)
		return nil
	case chosen && !w.options.mayContain(child):
		w.found.skip(child)
		return nil
	}
	child.visit = sync.OnceValue(func() error { return w.visit(child) })
	if chosen {
		child = w.existing(child)
	}
	if !slices.Contains(n.Children, child) {
		n.Children = append(n.Children, child)
	}
	return nil
}

// refer finds what refers to a manifest or an index, if the options say so: in
// the repository of its path, and in the one that served it. Each list is
// requested once. Referrers have nodes of their own, aside from the graph,
// because a referrer may point back to its subject.
func (w *walk) refer(n *Node, repositories ...auth.Repository) error {
	if !w.options.Referrers {
		return nil
	}
	for _, at := range slices.Compact(repositories) {
		if !w.startListing(listing{n.Digest, at}) {
			continue
		}
		referrers, err := w.bundle.Fetcher.Referrers(w.ctx, n.Descriptor, at)
		if err != nil {
			return err
		}
		for _, d := range referrers {
			w.addReferrer(n, at, d, "")
		}
		if !w.options.Attached {
			continue
		}
		if referrers, err = w.bundle.Fetcher.Attached(w.ctx, n.Descriptor, at); err != nil {
			return err
		}
		for _, d := range referrers {
			w.addReferrer(n, at, Bare(d), d.Annotations[ocispec.AnnotationRefName])
		}
	}
	return nil
}

func (w *walk) addReferrer(n *Node, at auth.Repository, d ocispec.Descriptor, tag string) {
	below := &Node{Entry: nested.Entry{Descriptor: d}, Namespace: n.Namespace, Repository: at, Aside: true, Tag: tag}
	below.visit = sync.OnceValue(func() error { return w.visit(below) })
	n.Referrers = append(n.Referrers, below)
}

// visitCarrier finds the manifest that carried the root, and visits it and what
// refers to it.
func (w *walk) visitCarrier(root *Node) error {
	desc, ok := w.bundle.Fetcher.Carrier()
	if !ok {
		return nil
	}
	root.Carrier = &Node{Entry: nested.Entry{Descriptor: desc}, Repository: root.Repository}
	err := w.bring(root.Carrier)
	if err == nil {
		err = w.refer(root.Carrier, root.Repository, w.bundle.Found(root.Carrier))
	}
	if err == nil {
		err = visitAll(root.Carrier.Referrers)
	}
	return err
}

// startListing reports whether a list has not been requested yet.
func (w *walk) startListing(l listing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.listed[l]
	w.listed[l] = true
	return first
}

// existing returns the node for the same content under the same namespace, if
// there is one.
func (w *walk) existing(n *Node) *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := n.Namespace + "@" + n.Digest.String()
	known, ok := w.entries[key]
	if !ok {
		w.entries[key], known = n, n
	}
	w.found.originate(known, n.Origin)
	return known
}

// count adds nodes, within the bound.
func (w *walk) count(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes += n; w.nodes > MaxNodes {
		return fmt.Errorf("the bundle has more than %d parts", MaxNodes)
	}
	return nil
}
