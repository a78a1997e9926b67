package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// mover brings what walkers walk to into repositories of a registry, each
// node before those that point to it: members to <parent>/<child namespace>,
// or everything to the parent. The roots are left to its user. Any number of
// walks may be under way at once.
type mover struct {
	registries  *registry.Client // of the registry that it goes to
	source      *registry.Client // of the one that it comes from; nil: a layout
	parent      auth.Repository
	single      bool               // all to the parent
	fromParents bool               // content of repositories above goes to members that name it
	plain       bool               // in plain indexes
	strategy    string             // for nested indexes below the root
	protection  *nested.Protection // nil: members get no tags
	show        *progress
	limiter     *semaphore.Weighted

	uploaded, there, bytes atomic.Int64 // bytes of what was uploaded

	mu        sync.Mutex
	documents map[digest.Digest][]byte
	held      int64 // bytes of the documents
	puts      map[put]func() error
	kept      map[put]bool // that get a tag
	blobs     map[digest.Digest]*movedBlob
}

// put is content on its way to a repository.
type put struct {
	to   auth.Repository
	what bundle.ContentKey
}

// movedBlob is where a blob is by now. While it is on its way to the first
// repository all others wait, to mount it from there.
type movedBlob struct {
	sync.Mutex
	in []auth.Repository
}

func newMover(registries *registry.Client, parent auth.Repository, concurrent int, show *progress) *mover {
	return &mover{
		registries: registries,
		parent:     parent,
		strategy:   "auto",
		show:       show,
		limiter:    semaphore.NewWeighted(int64(concurrent)),
		documents:  map[digest.Digest][]byte{},
		puts:       map[put]func() error{},
		kept:       map[put]bool{},
		blobs:      map[digest.Digest]*movedBlob{},
	}
}

// moveAll brings a root, too.
func (m *mover) moveAll(ctx context.Context, w *bundle.Walker, root *bundle.Node) error {
	if err := m.move(ctx, w, root); err != nil {
		return err
	}
	return m.place(w, root)
}

// move walks from the root and brings what is below it.
func (m *mover) move(ctx context.Context, w *bundle.Walker, root *bundle.Node) error {
	w.Fetch = func(ctx context.Context, n *bundle.Node) error { return m.fetch(ctx, w, n) }
	w.Home = func(n *bundle.Node) (auth.Repository, error) { return m.home(w, n) }
	if len(w.Members) > 0 {
		// A name that is not there is found before anything is put.
		first := *root
		if err := w.VisitAll(ctx, &first); err != nil {
			return err
		}
	}
	w.Blobs = true
	w.Visited = func(n *bundle.Node) error {
		if n == root {
			return nil
		}
		return m.place(w, n)
	}
	if err := w.VisitAll(ctx, root); err != nil {
		return err
	}
	return m.moveCarrier(ctx, w, root)
}

// moveCarrier finds the manifest that carried the root, and brings what refers
// to it.
func (m *mover) moveCarrier(ctx context.Context, w *bundle.Walker, root *bundle.Node) error {
	desc, ok := w.Source.Carrier()
	if w.Ctx = ctx; !ok { // the root is still to come
		return nil
	}
	root.Carrier = &bundle.Node{Entry: nested.Entry{Descriptor: desc}, Repository: root.Repository}
	if err := m.fetch(ctx, w, root.Carrier); err != nil {
		return err
	}
	if err := w.Refer(root.Carrier); err != nil {
		return err
	}
	w.Ctx, w.Fail = context.WithCancelCause(ctx)
	defer func() { w.Fail(nil); w.Ctx = ctx }()
	for _, r := range root.Carrier.Referrers {
		if err := r.Visit(); err != nil {
			return err
		}
	}
	return nil
}

// fetch keeps documents; other content goes from one registry to the other
// when its place is known.
func (m *mover) fetch(ctx context.Context, w *bundle.Walker, n *bundle.Node) error {
	if _, err := m.target(n.Namespace); err != nil {
		return err // before what it points to is put
	}
	if err := n.Digest.Validate(); err != nil {
		return fmt.Errorf("%s: digest %.100q: %w", n.Repository, n.Digest, err)
	}
	if !oci.IsManifestOrIndex(n.MediaType) {
		return nil
	}
	data, err := bundle.FetchAll(ctx, w.Source, n.Descriptor)
	if err != nil {
		return bundle.Explain(w, n, err)
	}
	if err = m.hold(n.Digest, data); err == nil && images.IsIndexType(n.MediaType) {
		err = m.reserve(ctx, w, n)
	}
	return err
}

// maxHeld bounds the documents of a copy, which are kept until it ends.
const maxHeld = 1 << 30

func (m *mover) hold(d digest.Digest, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held += int64(len(data)); m.held > maxHeld {
		return fmt.Errorf("its manifests and indexes have more than %s", amount.Bytes(maxHeld))
	}
	m.documents[d] = data
	return nil
}

// reserve gives the entries of a nested index their tags in its order, so that
// they are the same each time: those of the index's own repository, too, which a
// carrier does not name.
func (m *mover) reserve(ctx context.Context, w *bundle.Walker, n *bundle.Node) error {
	if m.protection == nil {
		return nil
	}
	members, err := w.Source.Members(ctx, n.Descriptor)
	if err != nil || len(members) == 0 {
		return err
	}
	entries, err := w.Source.Children(ctx, n.Descriptor)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !oci.IsManifestOrIndex(e.MediaType) {
			continue
		}
		to, err := m.target(path.Join(n.Namespace, e.Child.String()))
		if err != nil {
			return err
		}
		m.protection.Tag(to, e.Digest)
		m.mu.Lock()
		m.kept[put{to, bundle.ContentKey{Digest: e.Digest, Document: true}}] = true
		m.mu.Unlock()
	}
	return nil
}

// keeps reports whether content in a repository gets a tag that protects it.
func (m *mover) keeps(p put) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[p]
}

func (m *mover) document(d digest.Digest) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.documents[d]
}

// place brings a node into its repository, once.
func (m *mover) place(w *bundle.Walker, n *bundle.Node) error {
	if oci.IsManifestOrIndex(n.MediaType) && !images.IsIndexType(n.MediaType) && !w.Selects(n) {
		return nil // it was no carrier
	}
	to, err := m.to(w, n)
	if err != nil {
		return err
	}
	if !oci.IsManifestOrIndex(n.MediaType) {
		return m.once(put{to, n.Key()}, func() error { return m.moveBlob(w, n, to) })
	}
	if n.Member() {
		m.show.member(n)
	}
	if m.plain {
		return m.placeFlat(w, n)
	}
	if n.Carrier != nil {
		return m.placeCarrier(w, n, to)
	}
	return m.putDocument(w, n, to, n.Descriptor, m.document(n.Digest))
}

// target is the repository for a namespace.
func (m *mover) target(namespace string) (auth.Repository, error) {
	if m.single || namespace == "" {
		return m.parent, nil
	}
	child, err := nested.ParseChild(namespace)
	if err != nil {
		return m.parent, err
	}
	if err = checkHub(m.parent); err != nil {
		return m.parent, err
	}
	to, err := child.In(m.parent)
	if err != nil {
		return m.parent, usage.Errorf("%w; name a shorter destination", err)
	}
	return to, nil
}

// placeCarrier brings a carrier that stands as a member, as it is.
func (m *mover) placeCarrier(w *bundle.Walker, n *bundle.Node, to auth.Repository) error {
	home, err := m.home(w, n.Carrier)
	if err != nil {
		return err
	}
	if home != homeOrOwn(n) {
		return fmt.Errorf("child %s@%s: its carrier is in %s and the index in %s; push it again", n.Repository, oci.Short(n.Digest), home, homeOrOwn(n))
	}
	p := indexPublisher{m.registries, m.document(n.Digest), n.Descriptor}
	if err := p.putCarried(w.Ctx, to); err != nil {
		return err
	}
	return m.putDocument(w, n, to, n.Carrier.Descriptor, m.document(n.Carrier.Digest))
}

// putDocument puts a manifest or an index that is below a root, under a tag
// that protects it when it is a member.
func (m *mover) putDocument(w *bundle.Walker, n *bundle.Node, to auth.Repository, desc ocispec.Descriptor, data []byte) error {
	ctx, tag := w.Ctx, ""
	switch {
	case m.protection == nil || !n.Member() && !m.keeps(put{to, bundle.ContentKey{Digest: desc.Digest, Document: true}}):
	case homeOrOwn(n) != n.Repository: // a guest there
		tag = m.protection.Tags(desc.Digest)[1]
	default:
		tag = m.protection.Tag(to, desc.Digest)
	}
	return m.once(put{to, bundle.ContentKey{Digest: desc.Digest, Document: true}}, func() error {
		var members []nested.Entry
		if !m.plain {
			var err error
			if members, err = w.Source.Members(ctx, desc); err != nil {
				return err
			}
		}
		if len(members) == 0 {
			return incomplete(to, desc, m.put(ctx, to, tag, desc, data))
		}
		p := indexPublisher{m.registries, data, desc}
		return m.limited(ctx, func() error {
			_, err := p.publish(ctx, to, tag, m.strategy)
			return err
		})
	})
}

// incomplete adds to a refusal of an index without child namespaces what can
// be done.
func incomplete(to auth.Repository, desc ocispec.Descriptor, err error) error {
	if !images.IsIndexType(desc.MediaType) || !refused(err) {
		return err
	}
	return fmt.Errorf("%w; %s wants all that an index points to, so copy without --platform, --member and --sparse, or use --flatten", err, to.Host())
}

// once does what has to be done for content in a repository; others wait.
func (m *mover) once(p put, do func() error) error {
	m.mu.Lock()
	first, ok := m.puts[p]
	if !ok {
		first = sync.OnceValue(do)
		m.puts[p] = first
	}
	m.mu.Unlock()
	return first()
}

// put pushes content that is at hand, a manifest under a tag if one is named.
func (m *mover) put(ctx context.Context, to auth.Repository, tag string, desc ocispec.Descriptor, data []byte) error {
	return m.limited(ctx, func() error { return putContent(ctx, m.registries, to, tag, desc, data) })
}

// limited does something as one of the requests at once.
func (m *mover) limited(ctx context.Context, do func() error) error {
	if err := m.limiter.Acquire(ctx, 1); err != nil {
		return err
	}
	defer m.limiter.Release(1)
	return do()
}

// moveBlob brings a blob into a repository: from one of the same registry
// where that can be, or else from where it is.
func (m *mover) moveBlob(w *bundle.Walker, n *bundle.Node, to auth.Repository) error {
	m.mu.Lock()
	blob, ok := m.blobs[n.Digest]
	if !ok {
		blob = new(movedBlob)
		m.blobs[n.Digest] = blob
	}
	m.mu.Unlock()
	blob.Lock()
	mountable := blob.in
	if len(mountable) > 0 {
		blob.Unlock()
		return m.moveFrom(w, n, to, mountable)
	}
	defer blob.Unlock()
	err := m.moveFrom(w, n, to, nil)
	if err == nil {
		blob.in = []auth.Repository{to}
	}
	return err
}

// moveFrom mounts or uploads a blob, which repositories of the destination may
// have by now.
func (m *mover) moveFrom(w *bundle.Walker, n *bundle.Node, to auth.Repository, mountable []auth.Repository) error {
	return m.limited(w.Ctx, func() error {
		at, err := m.sources(w, n)
		switch {
		case err != nil:
			return err
		case m.source != nil && n.Repository.Host() == to.Host():
			mountable = at
		case len(mountable) > 0 && m.source != nil:
			if _, err := m.whoHas(w, n); err != nil {
				return err
			}
		}
		return m.upload(w, n, to, mountable, at)
	})
}

// sources are the repositories that a blob may come from.
func (m *mover) sources(w *bundle.Walker, n *bundle.Node) ([]auth.Repository, error) {
	home, err := m.home(w, n)
	if m.fromParents && m.source != nil {
		return append([]auth.Repository{home}, n.Repository.Above(w.Top)...), err
	}
	return []auth.Repository{home}, err
}

// upload brings a blob from the first of some repositories that has it.
func (m *mover) upload(w *bundle.Walker, n *bundle.Node, to auth.Repository, mountable, at []auth.Repository) error {
	ctx, cancel := context.WithCancel(w.Ctx)
	defer cancel() // an upload that nothing was written to ends with its context alone
	pusher, err := m.registries.Pusher(ctx, to.String()+"@"+n.Digest.String())
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: n.Digest, Size: n.Size}
	upload, err := pusher.Push(ctx, oci.MountFrom(desc, mountable...))
	if errdefs.IsAlreadyExists(err) {
		m.there.Add(1)
		return nil
	}
	if err != nil {
		return refusal(to, err)
	}
	defer upload.Close()
	body, err := w.Source.FetchFrom(ctx, n.Descriptor, at[0], at[1:]...)
	if err != nil {
		return m.unread(w, n, err)
	}
	defer body.Close()
	m.show.expect(n.Size)
	from := &source{Reader: body, most: n.Size}
	if err := content.Copy(ctx, upload, from, n.Size, n.Digest); err != nil {
		if from.err != nil {
			return m.unread(w, n, err)
		}
		return fmt.Errorf("%s@%s: %w", to, n.Digest, err)
	}
	m.uploaded.Add(1)
	m.bytes.Add(n.Size)
	return nil
}

// unread says of a blob why it could not be read.
func (m *mover) unread(w *bundle.Walker, n *bundle.Node, err error) error {
	if errdefs.IsNotFound(err) && m.source != nil {
		return m.lacks(w, n)
	}
	return bundle.Explain(w, n, err)
}

// source is a body that remembers that it failed, so that it can be told from
// where it goes to.
type source struct {
	io.Reader
	most int64 // bytes
	read int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if s.read += int64(n); s.read > s.most {
		n, err = 0, fmt.Errorf("more than the %d bytes of its descriptor", s.most)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Seek implements io.Seeker, for an upload that begins again.
func (s *source) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := s.Reader.(io.Seeker)
	if !ok {
		return 0, errors.New("its source cannot be read again")
	}
	at, err := seeker.Seek(offset, whence)
	s.read = at
	return at, err
}
