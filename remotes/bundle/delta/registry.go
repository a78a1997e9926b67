package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Registry has what a source leaves out: in the repositories to which the
// bundle goes, or in others to which an earlier one went. It may be used by
// several goroutines at once.
type Registry struct {
	Source  Source
	Client  *registry.Client
	From    auth.Repository                                // of the bundle
	To      auth.Repository                                // that it is copied to
	Single  bool                                           // with all its members
	Place   func(auth.Repository) (auth.Repository, error) // to which one of the source's goes
	Lacking *Lacking

	asked flight.Once[key, struct{}]

	mu    sync.Mutex
	found map[key]auth.Repository
}

// At is where content for a repository was found.
func (r *Registry) At(to auth.Repository, d ocispec.Descriptor) (auth.Repository, bool) {
	if r == nil {
		return auth.Repository{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.found[keyOf(to, d)]
	return at, ok
}

func keyOf(at auth.Repository, d ocispec.Descriptor) key {
	return key{at, d.Digest, oci.IsManifestOrIndex(d.MediaType)}
}

func (r *Registry) note(to, at auth.Repository, d ocispec.Descriptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[key]auth.Repository{}
	}
	r.found[keyOf(to, d)] = at
}

// FindBlob finds a blob for a repository, or notes that it is lacking. It is
// asked for once.
func (r *Registry) FindBlob(ctx context.Context, to auth.Repository, o Omitted) error {
	_, err := r.asked.Do(keyOf(to, o.Descriptor), func() (struct{}, error) {
		err := r.places(to, o, func(at auth.Repository) error {
			_, err := r.Client.Head(ctx, at, "blobs/"+o.Digest.String(), "*/*")
			if err == nil {
				r.note(to, at, o.Descriptor)
			}
			return err
		})
		if errdefs.IsNotFound(err) {
			r.Lacking.Add(to, r.Source, o)
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// Fetch is the [Fetch] of the source. Manifests are looked for, and blobs are
// where FindBlob has found them.
func (r *Registry) Fetch(ctx context.Context, source auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
	to, err := r.Place(source)
	if err != nil {
		return nil, err
	}
	if !oci.IsManifestOrIndex(desc.MediaType) {
		at, ok := r.At(to, desc)
		if !ok {
			return nil, auth.Classed(errdefs.ErrNotFound, "%s@%s", to, desc.Digest)
		}
		return r.fetchAt(ctx, at, desc)
	}
	omitted, _ := r.Source.LeftOut(desc)
	var data []byte
	err = r.places(to, omitted, func(at auth.Repository) error {
		body, failed := r.fetchAt(ctx, at, desc)
		if failed != nil {
			return failed
		}
		defer body.Close()
		if data, failed = oci.ReadVerified(body, desc); failed == nil {
			r.note(to, at, desc)
		}
		return failed
	})
	return io.NopCloser(bytes.NewReader(data)), err
}

func (r *Registry) fetchAt(ctx context.Context, at auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
	fetcher, err := r.Client.Fetcher(ctx, at.String()+"@"+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	return fetcher.Fetch(ctx, desc)
}

// places asks the repository that content belongs to, and then those where the
// earlier bundle had it, as far as they are part of the copy.
func (r *Registry) places(to auth.Repository, o Omitted, ask func(auth.Repository) error) error {
	err := ask(to)
	if !errdefs.IsNotFound(err) {
		return err
	}
	for _, source := range o.At {
		at, ok := r.counterpart(source)
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
func (r *Registry) counterpart(source auth.Repository) (auth.Repository, bool) {
	if r.Single {
		return r.To, true
	}
	from, to := strings.Split(r.From.String(), "/"), strings.Split(r.To.String(), "/")
	if source != r.From && !strings.HasPrefix(source.String(), r.From.String()+"/") {
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
