package check

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// reading is the result of reading a manifest or index.
type reading struct {
	err     error
	subject *ocispec.Descriptor
}

// readings are those of one walk.
type readings struct {
	mu sync.Mutex
	of map[digest.Digest]reading
}

func (r *readings) get(d digest.Digest) reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[d]
}

func (r *readings) put(d digest.Digest, one reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[digest.Digest]reading{}
	}
	r.of[d] = one
}

// failed reports whether any manifest or index could not be read.
func (r *readings) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.of {
		if one.err != nil {
			return true
		}
	}
	return false
}

// walk reads every manifest and index. One that cannot be read is recorded, and
// treated as having no children.
func (c *checker) walk(ctx context.Context) (*bundle.Walked, error) {
	options := bundle.Options{Selection: c.selection, Concurrent: concurrent}
	walked, err := c.bundle.Walk(ctx, options, bundle.Visitor{Fetch: c.read, Children: c.children})
	var nothing bundle.MissingError
	if errors.As(err, &nothing) && c.readings.failed() {
		return walked, nil // what was selected may be below that
	}
	return walked, err
}

// read reads a manifest or index.
func (c *checker) read(ctx context.Context, n *bundle.Node) error {
	c.progress.Expect(1, false)
	defer c.progress.Checked()
	data, err := bundle.FetchAll(ctx, c.bundle.Fetcher, n.Descriptor)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.access.noteRead(ctx, n.Repository, c.bundle.Found(n), err)
	if err != nil {
		err = c.bundle.Explain(n, err)
	}
	var parsed struct {
		Subject *ocispec.Descriptor `json:"subject"`
	}
	if json.Unmarshal(data, &parsed) != nil {
		parsed.Subject = nil // children says what is wrong
	}
	c.readings.put(n.Digest, reading{err, parsed.Subject})
	return nil
}

// children returns the entries of a manifest or index; none when reading
// failed.
func (c *checker) children(ctx context.Context, n *bundle.Node) ([]nested.Entry, error) {
	r := c.readings.get(n.Digest)
	if r.err != nil {
		return nil, nil
	}
	entries, err := c.bundle.Fetcher.Children(ctx, n.Descriptor)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.err = err
		c.readings.put(n.Digest, r)
	}
	return entries, nil
}

// entries are those that the walk has read.
func (c *checker) entries(ctx context.Context, n *bundle.Node) []nested.Entry {
	entries, _ := c.children(ctx, n)
	return entries
}
