// Package check verifies that a bundle is complete and that a user may read it,
// without pulling it. [Bundle] returns a [Report], which is data and can print
// itself.
//
// Read the files in this order:
//
//   - check.go: [Bundle] and its options;
//   - walk.go: every index and manifest is read first. Failures are recorded,
//     and the rest goes on;
//   - blobs.go: then every other blob is requested with HEAD: by then it is
//     known where content may be that is listed more than once;
//   - access.go: what each answer says about the credential for its repository;
//   - findings.go: the report is put together, with how a lock differs
//     (locked.go); report.go has its types, text.go
//     its text, and class.go the classes of errors.
//
// Package bundle is below it; nestctl check is its user.
package check

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// concurrent is the number of concurrent requests.
const concurrent = 8

// Options say what is checked, and with which credentials.
type Options struct {
	Registries registry.Options // how to make requests; of Metrics only the counters matter
	Selection  bundle.Selection // what to check of the bundle
	// Lock, when given, is compared with the bundle; the reference is the lock's.
	Lock *lock.Lock
	// Strict also checks that the repository of an index has the members'
	// manifests, as some registries require.
	Strict bool
	// Progress is notified as the check proceeds; may be nil.
	Progress Progress
}

// Progress is notified of the parts of a bundle: manifests and indexes that are
// read, and requests for everything else. Its methods are called by several
// goroutines at once.
type Progress interface {
	// Expect adds parts; all says that there will be no more.
	Expect(parts int, all bool)
	// Checked says that one of them has been checked, with any result.
	Checked()
}

type silent struct{}

func (silent) Expect(int, bool) {}

func (silent) Checked() {}

// Bundle checks a reference. A bundle that is incomplete, does not exist, or
// may not be read with these credentials is not an error, but a report that
// says so. It is an error when ctx ends, and when the bundle has too many
// parts, because an unfinished check has no report.
func Bundle(ctx context.Context, ref auth.Reference, o Options) (*Report, error) {
	if o.Registries.Credentials == nil {
		o.Registries.Credentials = auth.Sources{}
	}
	if o.Registries.Metrics == nil {
		o.Registries.Metrics = new(registry.Metrics)
	}
	if o.Progress == nil {
		o.Progress = silent{}
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
		progress:  o.Progress,
		// A root that was read as a blob is stored as one.
		rootIsBlob: o.Registries.Metrics.Blobs.Load() > blobs,
	}
	walked, parts, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	report := c.report(ctx, ref, walked, parts)
	if o.Lock != nil {
		err = report.compare(ctx, o, b, walked.Root)
	}
	return report, err
}

// checker checks one bundle.
type checker struct {
	bundle     *bundle.Bundle
	selection  bundle.Selection
	client     *registry.Client
	access     *access
	strict     bool
	progress   Progress
	rootIsBlob bool
	readings   readings
	sizes      flight.Once[request, int64]
}

// run reads all manifests and indexes, and then requests everything else.
func (c *checker) run(ctx context.Context) (*bundle.Walked, []*part, error) {
	walked, err := c.walk(ctx)
	if err != nil {
		return nil, nil, err
	}
	var parts []*part
	var looks []func()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrent)
	for _, n := range walked.Root.All() {
		p := &part{Node: n, reading: c.readings.get(n.Digest), blobs: c.blobsOf(ctx, n)}
		parts = append(parts, p)
		looks = append(looks, c.looks(groupCtx, p)...)
	}
	c.progress.Expect(len(looks), true)
	for _, look := range looks {
		group.Go(func() error {
			look()
			c.progress.Checked()
			return groupCtx.Err()
		})
	}
	return walked, parts, group.Wait()
}

// part is the result for a node.
type part struct {
	*bundle.Node
	reading
	blobs      []*blob
	subjectErr error    // why the subject was not found
	apart      []string // members that are not in the index's own repository
}
