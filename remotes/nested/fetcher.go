package nested

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Fetcher fetches the content of one pull, each from the repository that the
// location cache says. It may be used by several goroutines at once.
type Fetcher struct {
	base      remotes.Resolver
	root      remotes.Fetcher // of the root's repository
	store     content.Provider
	complete  bool // see [Options]
	locations *locations
	walk      chan struct{} // held while one walks from the root

	mu     sync.Mutex
	inner  map[auth.Repository]remotes.Fetcher
	served map[digest.Digest]auth.Repository
}

var _ remotes.Fetcher = (*Fetcher)(nil)

func (r *Resolver) fetcher(ctx context.Context, ref string, l *locations) (*Fetcher, error) {
	root, err := r.base.Fetcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &Fetcher{
		base:      r.base,
		root:      root,
		store:     r.store,
		complete:  r.complete,
		locations: l,
		walk:      make(chan struct{}, 1),
		inner:     map[auth.Repository]remotes.Fetcher{},
		served:    map[digest.Digest]auth.Repository{},
	}, nil
}

// Fetch implements remotes.Fetcher. An index or manifest is read completely,
// verified and followed before it is returned; other content is asked for at
// the first Read, and the reader can Seek. Errors: [Error], [InvalidError],
// [VerifyError], those of package auth, and the wrapped fetcher's.
func (f *Fetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if f.locations.empty() {
		f.locations.start(desc, false)
	}
	s, err := f.find(ctx, desc)
	if err != nil {
		return nil, err
	}
	if len(s.places) == 0 {
		if !oci.IsForeign(desc) {
			desc.URLs = nil
		}
		return f.root.Fetch(ctx, desc)
	}
	if p := s.places[0]; !oci.IsManifestOrIndex(p.descriptor.MediaType) || !f.readable(p.descriptor) {
		return &candidateReader{ctx: ctx, fetcher: f, sought: s}, nil
	}
	data, err := f.readAndLearn(ctx, s)
	if err != nil {
		return nil, err
	}
	return seekable{bytes.NewReader(data)}, nil
}

// FetchFrom is Fetch for content of one repository: it is asked for there, then
// in the others that are given, and nowhere else. Fetch takes content that
// several members have from any of them, which does not matter to a caller that
// may read them all; it does to one that gives it to other readers.
func (f *Fetcher) FetchFrom(ctx context.Context, desc ocispec.Descriptor, at auth.Repository, others ...auth.Repository) (io.ReadCloser, error) {
	p, ok := f.locations.place(desc.Digest)
	if !ok || !p.strict {
		p.descriptor = desc
	}
	p.targets, p.fallbacks, p.by = []auth.Repository{at}, others, f.locations.root
	return &candidateReader{ctx: ctx, fetcher: f, sought: sought{desc: desc, places: Places{p}, known: true}}, nil
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// Children returns what a manifest or index of this pull points to. What has
// not passed through is read from the store or fetched. Errors: as for Fetch,
// and [InvalidError] for any manifest or index that cannot be read.
func (f *Fetcher) Children(ctx context.Context, desc ocispec.Descriptor) ([]Entry, error) {
	p, m, err := f.parsed(ctx, desc)
	switch {
	case err != nil:
		return nil, err
	case !f.readable(p.descriptor):
		return nil, p.invalid(fmt.Errorf("size %d: too large to be read", p.descriptor.Size))
	case m.unread != nil:
		return nil, p.invalid(m.unread)
	}
	return m.entries, nil
}

// Members returns the entries of an index of this pull that state a child
// namespace. A plain manifest or index has none, whatever is in it. Errors: as
// for Fetch.
func (f *Fetcher) Members(ctx context.Context, desc ocispec.Descriptor) ([]Entry, error) {
	_, m, err := f.parsed(ctx, desc)
	if err != nil || !m.nested {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(m.entries), func(e Entry) bool { return e.Child == (Child{}) }), nil
}

// parsed returns a manifest or index of this pull, read if it has to be. One
// that is not readable is empty.
func (f *Fetcher) parsed(ctx context.Context, desc ocispec.Descriptor) (Place, parsed, error) {
	s, err := f.placeOf(ctx, desc)
	if err != nil {
		return Place{}, parsed{}, err
	}
	p := s.places[0]
	if !f.readable(p.descriptor) {
		return p, parsed{}, nil
	}
	m, ok := f.locations.parsedOf(desc.Digest)
	if ok {
		return p, m, nil
	}
	if err = f.learnFromStore(ctx, p); errdefs.IsNotFound(err) {
		_, err = f.readAndLearn(ctx, s)
	}
	if err != nil {
		return p, parsed{}, err
	}
	if m, ok = f.locations.parsedOf(desc.Digest); !ok {
		return p, parsed{}, &VerifyError{p.First(), desc.Digest, "what was served is something else"}
	}
	return p, m, nil
}

// readable reports whether a manifest or index is small enough to be read
// completely. Strict ones are, or they would not be known. A plain one may be
// larger than what is allowed below nested indexes; past a second limit it is
// not searched for child namespaces.
func (f *Fetcher) readable(d ocispec.Descriptor) bool {
	return d.Size <= 2*f.locations.rule.limits.Manifest
}

// Try asks the repositories in which content of this pull may be, in their
// order (docs/spec.md, section 4), until one answers, and returns that one.
// Errors: as for Fetch, and those of try.
func (f *Fetcher) Try(ctx context.Context, desc ocispec.Descriptor, try func(auth.Repository) error) (auth.Repository, error) {
	s, err := f.placeOf(ctx, desc)
	if err != nil {
		return auth.Repository{}, err
	}
	_, served, err := f.tryAll(ctx, s, func(_ Place, candidate auth.Repository) error { return try(candidate) })
	return served, err
}

// placeOf is find for content that has to have a place.
func (f *Fetcher) placeOf(ctx context.Context, desc ocispec.Descriptor) (sought, error) {
	s, err := f.find(ctx, desc)
	if err == nil && len(s.places) == 0 {
		err = fmt.Errorf("%s is not part of this pull: %w", desc.Digest, errdefs.ErrNotFound)
	}
	return s, err
}

// Found returns the repository that served content in this pull.
func (f *Fetcher) Found(d digest.Digest) (auth.Repository, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.served[d]
	return r, ok
}

// readAndLearn fetches a manifest or index, and follows it when it verifies.
// One that does not verify is an error, unless it has nothing to do with child
// namespaces: then it is passed on unread, for the caller to refuse.
func (f *Fetcher) readAndLearn(ctx context.Context, s sought) (data []byte, err error) {
	if held, ok := f.locations.take(s.desc.Digest); ok {
		served, ok := f.Found(s.desc.Digest)
		if !ok { // it was there when the reference was resolved
			served = f.locations.root
			f.found(s.desc.Digest, served)
		}
		return held, f.learnFrom(s.places[0], held, served)
	}
	var invalid error // it is so wherever it is, when it is read strictly
	_, served, err := f.tryAll(ctx, s, func(p Place, candidate auth.Repository) error {
		if invalid != nil && !p.strict {
			return invalid
		}
		if data, err = f.readFrom(ctx, p, candidate); err != nil {
			return err
		}
		if err = f.learnFrom(p, data, candidate); errdefs.IsInvalidArgument(err) {
			invalid = err
		}
		return err
	})
	if err == nil {
		f.found(s.desc.Digest, served)
	}
	return data, err
}

// learnFrom follows what was served as a manifest or index.
func (f *Fetcher) learnFrom(p Place, data []byte, served auth.Repository) error {
	if reason := oci.Verify(p.descriptor, data); reason != "" {
		if !p.strict {
			return nil
		}
		return &VerifyError{served, p.descriptor.Digest, reason}
	}
	return f.locations.learn(p, data, served)
}

// readFrom fetches a manifest or index completely. More than a byte too many is
// never read.
func (f *Fetcher) readFrom(ctx context.Context, p Place, candidate auth.Repository) (data []byte, err error) {
	err = f.fetchOne(ctx, p, candidate, func(body io.ReadCloser) error {
		defer body.Close()
		data, err = io.ReadAll(io.LimitReader(body, p.descriptor.Size+1))
		return err
	})
	return data, err
}

// fetchFirst asks for content until a repository answers, and returns that one.
// use gets the body, and closes it when it cannot be read.
func (f *Fetcher) fetchFirst(ctx context.Context, s sought, use func(io.ReadCloser) error) (auth.Repository, error) {
	_, served, err := f.tryAll(ctx, s, func(p Place, candidate auth.Repository) error { return f.fetchOne(ctx, p, candidate, use) })
	if err == nil {
		f.found(s.desc.Digest, served)
	}
	return served, err
}

// fetchOne asks one repository, under each media type that decides between
// manifests and blobs.
func (f *Fetcher) fetchOne(ctx context.Context, p Place, repository auth.Repository, use func(io.ReadCloser) error) error {
	inner, err := f.innerFor(ctx, repository, p.descriptor.Digest)
	if err != nil {
		return err
	}
	desc := p.descriptor
	if p.strict || !oci.IsForeign(desc) {
		desc.URLs = nil // content of a member comes from its repository
	}
	if p.strict {
		ctx = oci.ExpectType(ctx, desc.MediaType)
	}
	for _, desc.MediaType = range p.MediaTypes() {
		var body io.ReadCloser
		if body, err = inner.Fetch(ctx, desc); err == nil {
			err = use(body)
		}
		if !errdefs.IsNotFound(err) {
			break
		}
	}
	return err
}

func (f *Fetcher) innerFor(ctx context.Context, repository auth.Repository, d digest.Digest) (remotes.Fetcher, error) {
	if repository == f.locations.root {
		return f.root, nil
	}
	f.mu.Lock()
	inner, ok := f.inner[repository]
	f.mu.Unlock()
	if ok {
		return inner, nil
	}
	inner, err := f.base.Fetcher(ctx, byDigest(repository, d))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inner[repository] = inner
	return inner, nil
}

func (f *Fetcher) found(d digest.Digest, repository auth.Repository) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served[d] = repository
}
