// Package check finds out whether a bundle is complete, and whether somebody may
// read it, without pulling it. [Bundle] returns a [Report], which is data and can
// print itself.
//
// Every index and manifest is read first (walk.go), and then every other blob is
// asked for (blobs.go): by then it is known where content may be that is listed
// more than once. What fails is noted, and the rest goes on. What each repository
// made of the credential is noted with every answer (access.go). From all that the
// report is put together (findings.go), whose types are in report.go and whose
// text is in text.go. Errors are of the classes in class.go.
package check

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Concurrent is the number of requests at once.
const Concurrent = 8

// Options say what is checked, and with whose credentials.
type Options struct {
	Registries registry.Options // whom to ask, and with what; of Metrics only what is counted matters
	Selection  bundle.Selection // what of the bundle
	// Strict also asks whether the repository of an index has the members'
	// manifests, as some registries insist.
	Strict bool
}

// Bundle checks what ref leads to. A bundle that is not complete, not there, or
// not to be read with these credentials is no error but a report that says so.
// There is an error when ctx ends, and when the bundle has too many parts, as there
// is no report on what was not asked to the end.
func Bundle(ctx context.Context, ref auth.Reference, o Options) (*Report, error) {
	if o.Registries.Credentials == nil {
		o.Registries.Credentials = auth.Sources{}
	}
	if o.Registries.Metrics == nil {
		o.Registries.Metrics = new(registry.Metrics)
	}
	blobs := o.Registries.Metrics.Blobs.Load()
	client := registry.New(o.Registries)
	defer client.CloseIdleConnections()
	a := newAccess(client, o.Registries.Credentials)
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{Complete: true}), ref)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return unresolved(ctx, a, ref, err), nil
	}
	c := &checker{
		bundle:    b,
		selection: o.Selection,
		client:    client,
		access:    a,
		strict:    o.Strict,
		// A root that was read as a blob is stored as one.
		rootIsBlob: o.Registries.Metrics.Blobs.Load() > blobs,
	}
	walked, parts, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	return c.report(ctx, ref, walked, parts), nil
}

// checker looks at all of a bundle.
type checker struct {
	bundle     *bundle.Bundle
	selection  bundle.Selection
	client     *registry.Client
	access     *access
	strict     bool
	rootIsBlob bool
	readings   readings
	sizes      flight.Once[request, int64]
}

// run reads all manifests and indexes, and then asks for everything else.
func (c *checker) run(ctx context.Context) (*bundle.Walked, []*part, error) {
	walked, err := c.walk(ctx)
	if err != nil {
		return nil, nil, err
	}
	var parts []*part
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(Concurrent)
	for _, n := range walked.Root.All() {
		p := &part{Node: n, reading: c.readings.get(n.Digest), blobs: c.blobsOf(ctx, n)}
		parts = append(parts, p)
		for _, look := range c.looks(groupCtx, p) {
			group.Go(func() error {
				look()
				return groupCtx.Err()
			})
		}
	}
	return walked, parts, group.Wait()
}

// part is what was found out about a node.
type part struct {
	*bundle.Node
	reading
	blobs      []*blob
	subjectErr error    // why the subject is not there
	apart      []string // members that the index's own repository does not have
}
