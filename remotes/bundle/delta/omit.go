package delta

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Omitter decides what a copy leaves out. Every index stays: it says what
// belongs to the bundle. So does a carrier, because of the index in it.
//
// What an earlier copy has of one member is no reason to leave it out of
// another: then somebody has to show that the other has it, too, so that
// whoever unpacks an archive gives nobody more than its source would; see
// Unproven. It may be used by several goroutines at once.
type Omitter struct {
	since []Earlier

	mu      sync.Mutex
	omitted map[content]*Omitted
}

// content is that of a manifest, or of a blob with the same digest.
type content struct {
	digest   digest.Digest
	manifest bool
}

func contentOf(d ocispec.Descriptor) content {
	return content{d.Digest, oci.IsManifestOrIndex(d.MediaType)}
}

// NewOmitter returns one that leaves out what earlier copies have.
func NewOmitter(since []Earlier) *Omitter {
	return &Omitter{since: since, omitted: map[content]*Omitted{}}
}

// Omit reports whether content is left out.
func (o *Omitter) Omit(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if images.IsIndexType(d.MediaType) {
		return false, nil
	}
	for _, e := range o.since {
		had, ok := e.Has(d.Digest)
		if !ok {
			continue
		}
		if contentOf(d).manifest {
			entries, err := o.Children(ctx, d)
			if err != nil || slices.ContainsFunc(entries, func(e nested.Entry) bool { return e.Carried }) {
				return false, err
			}
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.omitted[contentOf(d)] = &Omitted{Descriptor: d, Had: had}
		return true, nil
	}
	return false, nil
}

// Omits reports whether Omit has left content out.
func (o *Omitter) Omits(d ocispec.Descriptor) bool { return o.of(d) != nil }

func (o *Omitter) of(d ocispec.Descriptor) *Omitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.omitted[contentOf(d)]
}

// Unproven reports whether content is left out, although nothing says yet that
// it is content of a repository.
func (o *Omitter) Unproven(at auth.Repository, d ocispec.Descriptor) bool {
	return o.Omits(d) && !slices.ContainsFunc(o.since, func(e Earlier) bool { return e.HasIn(at, d.Digest) })
}

// Note notes that content, if it is left out, is that of a repository.
func (o *Omitter) Note(at auth.Repository, d ocispec.Descriptor) {
	omitted := o.of(d)
	if omitted == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(omitted.Members, at) {
		omitted.Members = append(omitted.Members, at)
	}
}

// Children are the entries of a manifest that is left out; none when nothing
// but its digest is known.
func (o *Omitter) Children(ctx context.Context, d ocispec.Descriptor) ([]nested.Entry, error) {
	for _, e := range o.since {
		if _, ok := e.Has(d.Digest); !ok {
			continue
		}
		if entries, known, err := e.Children(ctx, d); known || err != nil {
			return entries, err
		}
	}
	return nil, nil
}

// All are what is left out, by digest.
func (o *Omitter) All() []Omitted {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]Omitted, 0, len(o.omitted))
	for _, omitted := range o.omitted {
		slices.SortFunc(omitted.Members, func(a, b auth.Repository) int { return strings.Compare(a.String(), b.String()) })
		all = append(all, *omitted)
	}
	slices.SortFunc(all, func(a, b Omitted) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return all
}
