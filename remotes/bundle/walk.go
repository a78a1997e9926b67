package bundle

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
	"github.com/nestedoci/nested/remotes/registry"
)

// MaxNodes bounds the walk. A digest may stand under many namespaces, so that
// the library's bound on distinct digests does not bound the paths.
const MaxNodes = 100_000

// briefs small requests count as much as a large one.
const briefs = 8

func weightOf(d ocispec.Descriptor) int64 {
	if registry.IsSmall(d) {
		return 1
	}
	return briefs
}

// Source is what a pull of package nested offers.
type Source interface {
	remotes.Fetcher
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Found(digest.Digest) (auth.Repository, bool)
	Members(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	FetchFrom(context.Context, ocispec.Descriptor, auth.Repository, ...auth.Repository) (io.ReadCloser, error)
	Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
	Carrier() (ocispec.Descriptor, bool)
}

var _ Source = (*nested.Fetcher)(nil)

// Walker walks from the root to everything that is selected.
type Walker struct {
	Source Source
	Top    auth.Repository // the root's
	Selection
	limiter *semaphore.Weighted
	// fetch brings a node's content. It is called once for a digest, and only
	// for documents unless blobs are visited too.
	Fetch func(context.Context, *Node) error
	Blobs bool
	// referrers tells whether to walk to what refers to documents, too.
	Referrers bool
	// sparse leaves out members that are not there.
	Sparse bool
	// absent, when given, is what can be done about them.
	Absent string
	// home, when given, says in which repository a manifest is to be taken to be,
	// with its config and layers, in place of the one of its path.
	Home func(*Node) (auth.Repository, error)
	// distributed leaves out what is not to be distributed, into foreign.
	Distributed bool
	Foreign     map[string]bool // repository@digest
	// visited, when given, is called when a node and all below it is done.
	Visited func(*Node) error

	Ctx     context.Context // of the whole walk: one failure ends it
	Fail    context.CancelCauseFunc
	mu      sync.Mutex
	nodes   int
	entries map[string]*Node // of indexes, by namespace and digest
	fetches map[ContentKey]func() error
	listed  map[listing]bool // whose referrers were asked for
	Passed  []string         // what is not selected, for the error
	Skipped map[string]bool  // the repositories of what is not selected
}

// ContentKey is content as a document or as a blob: a registry keeps them apart.
type ContentKey struct {
	Digest   digest.Digest
	Document bool
}

func (n *Node) Key() ContentKey { return ContentKey{n.Digest, oci.IsManifestOrIndex(n.MediaType)} }

// listing is a list of referrers.
type listing struct {
	subject digest.Digest
	at      auth.Repository
}

// Open resolves a reference and returns the root and a walker from it.
func Open(ctx context.Context, resolver *nested.Resolver, ref string, s Selection, concurrent int) (*Walker, *Node, error) {
	name, desc, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	f, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	repository, _ := SplitRef(name)
	root, err := auth.ParseRepository(repository)
	if err != nil {
		return nil, nil, err
	}
	w := &Walker{
		Source:    f.(Source),
		Top:       root,
		Selection: s,
		limiter:   semaphore.NewWeighted(int64(concurrent) * briefs),
		fetches:   map[ContentKey]func() error{},
	}
	w.Fetch = func(ctx context.Context, n *Node) error {
		_, err := w.Source.Children(ctx, n.Descriptor)
		return err
	}
	return w, &Node{Entry: nested.Entry{Descriptor: desc}, Repository: root}, nil
}

// VisitAll visits everything from the root on. It is an error when nothing is
// selected.
func (w *Walker) VisitAll(ctx context.Context, root *Node) error {
	w.nodes, w.entries, w.listed, w.Passed, w.Skipped = 0, map[string]*Node{}, map[listing]bool{}, nil, map[string]bool{}
	w.Ctx, w.Fail = context.WithCancelCause(ctx)
	defer w.Fail(nil)
	if err := w.visit(root); err != nil {
		w.Fail(err)
		return context.Cause(w.Ctx) // the failure that ended it, not what it ended
	}
	return w.nothing(root)
}

// Visit brings a node and what is below it.
func (w *Walker) visit(n *Node) error {
	if oci.IsManifestOrIndex(n.MediaType) || w.Blobs {
		err := w.bring(n)
		if n.Missing = w.Sparse && n.Listed && errdefs.IsNotFound(err); n.Missing {
			return nil
		}
		if n.Listed && w.Absent != "" && errdefs.IsNotFound(err) {
			err = fmt.Errorf("%w; %s", err, w.Absent)
		}
		if err != nil {
			w.Fail(err)
			return err
		}
	}
	if oci.IsManifestOrIndex(n.MediaType) {
		if err := w.expand(n); err != nil {
			w.Fail(err)
			return err
		}
		var group errgroup.Group
		for _, below := range slices.Concat(n.Children, n.Referrers) {
			if !below.Carried {
				group.Go(below.Visit)
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if index := n.carried(); index != nil {
			carrier := *n
			n.Descriptor, n.Children, n.Referrers, n.Carrier = index.Descriptor, nil, nil, &carrier // it takes the carrier's place
			n.Home = auth.Repository{}
			return w.visit(n)
		}
	}
	if w.Visited == nil {
		return nil
	}
	err := w.Visited(n)
	if err != nil {
		w.Fail(err)
	}
	return err
}

// bring fetches a node's content, once however many paths lead to it.
func (w *Walker) bring(n *Node) error {
	if err := nested.Unfollowed(n.Repository, n.Descriptor); err != nil {
		return err
	}
	w.mu.Lock()
	fetch, ok := w.fetches[n.Key()]
	if !ok {
		fetch = sync.OnceValue(func() error {
			weight := weightOf(n.Descriptor)
			if err := w.limiter.Acquire(w.Ctx, weight); err != nil {
				return err
			}
			defer w.limiter.Release(weight)
			return w.Fetch(w.Ctx, n)
		})
		w.fetches[n.Key()] = fetch
	}
	w.mu.Unlock()
	return fetch()
}

// expand finds the selected children of a document.
func (w *Walker) expand(n *Node) error {
	entries, err := w.Source.Children(w.Ctx, n.Descriptor)
	if err != nil {
		return err
	}
	index := images.IsIndexType(n.MediaType)
	at := n.Repository
	if w.Home != nil && !index {
		if at, err = w.Home(n); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if visited := w.Blobs && w.Selects(n); !index && !e.Carried && !visited {
			continue
		}
		repository, err := e.Child.In(at)
		if err != nil {
			return err
		}
		child := &Node{Entry: e, Namespace: path.Join(n.Namespace, e.Child.String()), Repository: repository, Listed: index, Aside: n.Aside}
		if w.Distributed && IsForeign(e.MediaType) {
			w.leaveOut(child)
			continue
		}
		if index && !n.Aside && !w.takes(child) {
			w.pass(child)
			continue
		}
		child.Visit = sync.OnceValue(func() error { return w.visit(child) })
		if index && !n.Aside {
			child = w.known(child)
		}
		if !slices.Contains(n.Children, child) {
			n.Children = append(n.Children, child)
		}
	}
	if err := w.Refer(n); err != nil {
		return err
	}
	return w.count(len(n.Children) + len(n.Referrers))
}

// Selects tells whether a manifest is there for its own sake, and not only to
// see whether it is a carrier.
func (w *Walker) Selects(n *Node) bool { return n.Aside || w.Wanted(n.Namespace) }

// Refer finds what refers to a document, where that is asked for: in the
// Repository in which it is by its path, and in the one that served it. A list
// is asked for once. What is behind it stands aside from the graph, in nodes of
// its own: a referrer may point back to what it refers to.
func (w *Walker) Refer(n *Node) error {
	if !w.Referrers {
		return nil
	}
	for _, at := range slices.Compact([]auth.Repository{n.Repository, w.Found(n)}) {
		if !w.begin(listing{n.Digest, at}) {
			continue
		}
		referrers, err := w.Source.Referrers(w.Ctx, n.Descriptor, at)
		if err != nil {
			return err
		}
		for _, d := range referrers {
			below := &Node{Entry: nested.Entry{Descriptor: d}, Namespace: n.Namespace, Repository: at, Aside: true}
			below.Visit = sync.OnceValue(func() error { return w.visit(below) })
			n.Referrers = append(n.Referrers, below)
		}
	}
	return nil
}

// begin tells whether a list was not asked for yet.
func (w *Walker) begin(l listing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.listed[l]
	w.listed[l] = true
	return first
}

// known returns the node that stands for the same content under the same
// Namespace, if there is one.
func (w *Walker) known(n *Node) *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := n.Namespace + "@" + n.Digest.String()
	if known, ok := w.entries[key]; ok {
		return known
	}
	w.entries[key] = n
	return n
}

// count adds nodes, within bounds.
func (w *Walker) count(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes += n; w.nodes > MaxNodes {
		return fmt.Errorf("the bundle has more than %d parts", MaxNodes)
	}
	return nil
}

func (w *Walker) pass(n *Node) {
	const shown = 50
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Skipped[n.Repository.String()] = true
	if len(w.Passed) < shown {
		w.Passed = append(w.Passed, strings.TrimSpace(n.Namespace+" "+PlatformOf(n.Platform)))
	}
}

// nothing is the error when there is something below the root, but nothing
// that is selected.
func (w *Walker) nothing(root *Node) error {
	selected := func(member string) bool {
		return slices.ContainsFunc(root.All(), func(n *Node) bool {
			inside := n.Namespace == member || strings.HasPrefix(n.Namespace, member+"/") || member == ""
			return inside && !images.IsIndexType(n.MediaType)
		})
	}
	wanted := w.Members
	if len(wanted) == 0 {
		wanted = []string{""}
	}
	missing := slices.DeleteFunc(slices.Clone(wanted), selected)
	if len(missing) == 0 || len(w.Passed) == 0 && len(w.Members) == 0 {
		return nil
	}
	slices.Sort(w.Passed)
	rest := "it has no members"
	if len(w.Passed) > 0 {
		rest = "there is also: " + strings.Join(slices.Compact(w.Passed), ", ") + "; choose with --member or --platform"
	}
	matches := strings.TrimSuffix("matches "+strings.Join(missing, ", "), " ")
	return MissingError(fmt.Sprintf("nothing in %s@%s %s; %s", root.Repository, root.Digest, matches, rest))
}

// MissingError says that nothing is selected. Its class is errdefs.ErrNotFound.
type MissingError string

func (e MissingError) Error() string { return string(e) }

func (e MissingError) Unwrap() error {
	return errdefs.ErrNotFound
}

// Found is the repository that served a node, or where it is by its path.
func (w *Walker) Found(n *Node) auth.Repository {
	if r, ok := w.Source.Found(n.Digest); ok {
		return r
	}
	return n.Repository
}
