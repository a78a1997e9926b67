package bundle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Delta is a source that leaves out content, because its destination should
// have it.
type Delta interface {
	// Name is its name for people.
	Name() string
	// LeftOut reports whether content of the bundle is left out, and what is
	// known of it: perhaps only its descriptor.
	LeftOut(ocispec.Descriptor) (Omitted, bool)
	// SetRest says where that content is.
	SetRest(Rest)
}

// Rest fetches content of one of the source's repositories from the
// destination.
type Rest func(context.Context, auth.Repository, ocispec.Descriptor) (io.ReadCloser, error)

// lacking are the contents that a delta leaves out, and its destination does
// not have.
type lacking struct {
	mu       sync.Mutex
	contents map[digest.Digest]bool
	texts    map[string]bool
	deltas   map[string]bool // by name
	earlier  map[string]bool
}

func newLacking() *lacking {
	return &lacking{contents: map[digest.Digest]bool{}, texts: map[string]bool{}, deltas: map[string]bool{}, earlier: map[string]bool{}}
}

// add notes that a repository lacks something.
func (l *lacking) add(at auth.Repository, delta Delta, o Omitted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := at.String() + "@" + o.Digest.String()
	o.In = sanitize.Text(fmt.Sprintf("%.255s", o.In)) // a stranger's
	if o.In != "" {
		text += " (in " + o.In + ")"
		l.earlier[o.In] = true
	}
	l.contents[o.Digest], l.texts[text], l.deltas[delta.Name()] = true, true, true
}

func (l *lacking) has(d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contents[d]
}

// err names what is missing, and where it was.
func (l *lacking) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.texts) == 0 {
		return nil
	}
	const shown = 20
	names := sorted(l.texts)
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown], fmt.Sprintf("and %d more", more))
	}
	earlier := cmp.Or(strings.Join(sorted(l.earlier), " and "), "the earlier archive")
	return auth.Classed(errdefs.ErrNotFound, "%s leaves out content that is not where it goes: %s; copy %s there first", strings.Join(sorted(l.deltas), " and "), strings.Join(names, ", "), earlier)
}

// children are the entries of what is not missing.
func (l *lacking) children(b *Bundle) func(context.Context, *Node) ([]nested.Entry, error) {
	return func(ctx context.Context, n *Node) ([]nested.Entry, error) {
		if l.has(n.Digest) {
			return nil, nil
		}
		return b.Fetcher.Children(ctx, n.Descriptor)
	}
}

// rest is what a delta leaves out, in the registry that it is copied to.
type rest struct {
	*lacking
	delta Delta

	asked flight.Once[copyKey, struct{}]

	mu sync.Mutex
	in map[copyKey]auth.Repository // where it is for a repository: there, or in another one of the bundle's
}

func (r *rest) found(k copyKey, at auth.Repository) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in[k] = at
}

// at is where content for a repository was found.
func (r *rest) at(k copyKey) (auth.Repository, bool) {
	if r == nil {
		return auth.Repository{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.in[k]
	return at, ok
}

// findRest finds everything that the source leaves out at the destination, and
// notes what is missing there. Nothing is sent before that. Manifests are read,
// because they are put under new tags; blobs are asked for.
func (p *transfer) findRest(ctx context.Context, lacks *lacking) error {
	if p.bundle.Delta == nil {
		return nil
	}
	p.rest = &rest{lacking: lacks, delta: p.bundle.Delta, in: map[copyKey]auth.Repository{}}
	p.rest.delta.SetRest(p.fetchRest)
	o := p.options
	o.Blobs, o.Carrier = true, true
	_, err := p.bundle.Walk(ctx, o, Visitor{Home: p.home, Children: p.rest.children(p.bundle), Done: p.findBlob, Fetch: func(ctx context.Context, n *Node) error {
		err := p.fetch(ctx, n)
		omitted, left := p.rest.delta.LeftOut(n.Descriptor)
		if !left || !n.isManifestOrIndex() || !errdefs.IsNotFound(err) {
			return err
		}
		to, err := p.destination(ctx, n)
		p.rest.add(to, p.rest.delta, omitted)
		return err
	}})
	return err
}

// findBlob finds a blob that was left out.
func (p *transfer) findBlob(ctx context.Context, n *Node) error {
	omitted, left := p.rest.delta.LeftOut(n.Descriptor)
	if !left || n.isManifestOrIndex() {
		return nil
	}
	to, err := p.destination(ctx, n)
	if err != nil {
		return err
	}
	key := copyKey{to, n.key()}
	_, err = p.rest.asked.Do(key, func() (struct{}, error) {
		return struct{}{}, p.limited(ctx, func() error {
			err := p.places(to, omitted, func(at auth.Repository) error {
				_, err := p.registries.Head(ctx, at, "blobs/"+n.Digest.String(), "*/*")
				if err == nil {
					p.rest.found(key, at)
				}
				return err
			})
			if errdefs.IsNotFound(err) {
				p.rest.add(to, p.rest.delta, omitted)
				return nil
			}
			return err
		})
	})
	return err
}

// places asks the repository that content belongs to, and then those where the
// earlier bundle had it, as far as they are part of the copy.
func (p *transfer) places(to auth.Repository, o Omitted, ask func(auth.Repository) error) error {
	err := ask(to)
	if !errdefs.IsNotFound(err) {
		return err
	}
	for _, source := range o.At {
		at, ok := p.counterpart(source)
		if !ok || at == to {
			continue
		}
		var denied *auth.DeniedError
		if other := ask(at); other == nil || !errdefs.IsNotFound(other) && !errors.As(other, &denied) {
			return other
		}
	}
	return err
}

// counterpart is the repository to which one of the source's is copied: below
// the parent, or where it would be if everything were copied as this bundle is.
func (p *transfer) counterpart(source auth.Repository) (auth.Repository, bool) {
	if p.single {
		return p.parent, true
	}
	from, to := strings.Split(p.bundle.Repository.String(), "/"), strings.Split(p.parent.String(), "/")
	if source != p.bundle.Repository && !strings.HasPrefix(source.String(), p.bundle.Repository.String()+"/") {
		for len(from) > 1 && len(to) > 1 && from[len(from)-1] == to[len(to)-1] {
			from, to = from[:len(from)-1], to[:len(to)-1]
		}
	}
	path, ok := strings.CutPrefix(source.String()+"/", strings.Join(from, "/")+"/")
	if !ok {
		return auth.Repository{}, false
	}
	at, err := auth.ParseRepository(strings.TrimSuffix(strings.Join(to, "/")+"/"+path, "/"))
	return at, err == nil
}

// fetchRest fetches content that was left out from the destination.
func (p *transfer) fetchRest(ctx context.Context, source auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
	to, err := p.repositoryFor(oci.Below(p.bundle.Repository, source))
	if err != nil {
		return nil, err
	}
	key := copyKey{to, contentKey{desc.Digest, oci.IsManifestOrIndex(desc.MediaType)}}
	if at, ok := p.rest.at(key); ok && !key.content.manifestOrIndex {
		return p.fetchAt(ctx, at, desc)
	}
	if !key.content.manifestOrIndex {
		return nil, auth.Classed(errdefs.ErrNotFound, "%s@%s", to, desc.Digest)
	}
	omitted, _ := p.rest.delta.LeftOut(desc)
	var data []byte
	err = p.places(to, omitted, func(at auth.Repository) error {
		body, err := p.fetchAt(ctx, at, desc)
		if err != nil {
			return err
		}
		defer body.Close()
		if data, err = oci.ReadVerified(body, desc); err == nil {
			p.rest.found(key, at)
		}
		return err
	})
	return io.NopCloser(bytes.NewReader(data)), err
}

func (p *transfer) fetchAt(ctx context.Context, at auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
	fetcher, err := p.registries.Fetcher(ctx, at.String()+"@"+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	return fetcher.Fetch(ctx, desc)
}

// findRest finds everything that the source leaves out in the target, and notes
// what is missing there.
func (p Pulling) findRest(ctx context.Context, to Target, lacks *lacking) error {
	b := p.Bundle
	if b.Delta == nil {
		return nil
	}
	b.Delta.SetRest(func(ctx context.Context, _ auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
		r, err := to.ReaderAt(ctx, desc)
		if err != nil {
			return nil, err
		}
		return readCloser{content.NewReader(r), r}, nil
	})
	o := p.Options
	o.Blobs = true
	_, err := b.Walk(ctx, o, Visitor{Children: lacks.children(b), Fetch: func(ctx context.Context, n *Node) error {
		omitted, left := b.Delta.LeftOut(n.Descriptor)
		if !left {
			return nil
		}
		if _, err := to.Info(ctx, n.Digest); !errdefs.IsNotFound(err) {
			return err
		}
		lacks.add(n.Repository, b.Delta, omitted)
		return nil
	}})
	return err
}

type readCloser struct {
	io.Reader
	io.Closer
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
