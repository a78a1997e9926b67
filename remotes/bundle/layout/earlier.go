package layout

import (
	"context"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
)

// Earlier is an archive or a layout that the readers of another one have: what
// is in it, and what it leaves out itself because they had that before. It is
// not verified, which would take as long as copying it; the far side asks for
// everything that was left out.
type Earlier struct {
	reading sync.Mutex // nodes are read by several goroutines, until it is open
	source  *Source
	name    string
	had     map[digest.Digest]delta.Had
	in      map[place]bool
	parents map[digest.Digest]*bundle.Bundle // that list the entries of a manifest
}

var _ delta.Earlier = (*Earlier)(nil)

// place is content of a repository.
type place struct {
	repository auth.Repository
	digest     digest.Digest
}

// maxPlaces bounds the repositories that are noted for content. A destination
// is asked for each of them, until it has the content.
const maxPlaces = 8

// OpenEarlier opens an archive or a layout, and reads what is in it.
func OpenEarlier(ctx context.Context, p Place) (*Earlier, error) {
	source, err := open(ctx, Place{Archive: p.Archive, Path: p.Path}, false)
	if err != nil {
		return nil, err
	}
	e := &Earlier{
		source:  source,
		name:    filepath.Base(p.Path),
		had:     map[digest.Digest]delta.Had{},
		in:      map[place]bool{},
		parents: map[digest.Digest]*bundle.Bundle{},
	}
	roots, err := source.Roots()
	for _, root := range roots {
		if err == nil {
			err = e.read(ctx, root)
		}
	}
	if err != nil {
		_ = source.Close()
		return nil, err
	}
	for _, o := range source.delta {
		for _, at := range append(slices.Clone(o.Members), o.At...) {
			e.add(o.In, at, o.Digest)
		}
	}
	return e, nil
}

// read notes what a root leads to.
func (e *Earlier) read(ctx context.Context, root *Source) error {
	b, err := root.Bundle(ctx)
	if err != nil {
		return err
	}
	_, err = b.Walk(ctx, bundle.Options{Blobs: true, Referrers: true, Sparse: true, Concurrent: 1}, bundle.Visitor{Done: func(_ context.Context, n *bundle.Node) error {
		e.reading.Lock()
		defer e.reading.Unlock()
		for _, n := range []*bundle.Node{n, n.Stored()} {
			if e.source.holds(n.Descriptor) {
				e.add(e.name, n.Repository, n.Digest)
				if oci.IsManifestOrIndex(n.MediaType) {
					e.parents[n.Digest] = b
				}
			}
		}
		return nil
	}})
	return err
}

func (e *Earlier) add(name string, at auth.Repository, d digest.Digest) {
	if e.in[place{at, d}] {
		return
	}
	e.in[place{at, d}] = true
	had, ok := e.had[d]
	if !ok {
		had.In = name
	}
	if len(had.At) < maxPlaces {
		had.At = append(had.At, at)
	}
	e.had[d] = had
}

// Has implements [delta.Earlier].
func (e *Earlier) Has(d digest.Digest) (delta.Had, bool) {
	had, ok := e.had[d]
	return had, ok
}

// HasIn implements [delta.Earlier].
func (e *Earlier) HasIn(at auth.Repository, d digest.Digest) bool { return e.in[place{at, d}] }

// Children implements [delta.Earlier].
func (e *Earlier) Children(ctx context.Context, desc ocispec.Descriptor) ([]nested.Entry, bool, error) {
	b, ok := e.parents[desc.Digest]
	if !ok {
		return nil, false, nil
	}
	entries, err := b.Fetcher.Children(ctx, desc)
	return entries, err == nil, err
}

// Close releases the archive or layout.
func (e *Earlier) Close() error { return e.source.Close() }
