// Package ctd stores bundles in containerd, for nestctl pull: content with the
// labels that garbage collection and later pushes use, unpacked images, and
// image records of the root and its members. Of the libraries it is the only
// one that imports containerd's client, which brings hundreds of packages.
//
// A [Target] (ctd.go) is protected by a lease until it is finished. Content
// gets its labels when it is committed (labels.go), an image is unpacked as
// soon as all its layers are there (unpack.go), and records are made at the
// end, so that an interrupted pull leaves none. Package bundle pulls into it;
// package records makes the records.
package ctd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/platforms"

	"github.com/nestedoci/nested/internal/records"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

const (
	// DefaultAddress is containerd's default socket.
	DefaultAddress = "/run/containerd/containerd.sock"
	// KubernetesNamespace is the namespace of CRI. The kubelet lets every pod
	// use an image that it has no record of pulling, so that no records of
	// members are made there unless requested.
	KubernetesNamespace = "k8s.io"
	// leaseLife is how long an interrupted pull can be resumed.
	leaseLife = 24 * time.Hour
)

// Options say where and how containerd stores a bundle.
type Options struct {
	Address     string // of the socket: a path, or unix:// and a path
	Namespace   string
	Snapshotter string // "": the namespace's, or the daemon's
	NoUnpack    bool   // store content only
	// Platform is that of the images that are unpacked; nil: this host's.
	Platform platforms.Matcher
	// MemberRecords makes image records of members also in KubernetesNamespace.
	MemberRecords bool
}

// Target is a namespace of containerd into which one bundle is pulled. Its
// methods are called in the order Lease; StoreFor, Stored and Done, from
// several goroutines; Finish. Close may be called at any time after these.
type Target struct {
	content.Store
	client   *client.Client
	options  Options
	lease    leases.Lease
	unpacker func() (*unpacker, error) // when there is something to unpack

	labelled sync.Map // digests of content that was committed with its labels
}

var (
	_ bundle.Target = (*Target)(nil)
	_ bundle.Storer = (*Target)(nil)
)

// ByAddress avoids the error about a containerd that does not answer, a
// [usage.Avoidable].
const ByAddress usage.Choice = "Options.Address"

// Open connects to containerd. It is an error when it does not answer within
// five seconds.
func Open(ctx context.Context, o Options) (*Target, error) {
	c, err := dial(ctx, strings.TrimPrefix(o.Address, "unix://"), o.Namespace)
	if err != nil {
		return nil, &usage.Avoidable{Err: fmt.Errorf("containerd does not answer at %s: %w", o.Address, err), By: ByAddress}
	}
	return &Target{
		Store:    c.ContentStore(),
		client:   c,
		options:  o,
		unpacker: sync.OnceValues(func() (*unpacker, error) { return newUnpacker(ctx, c, o.Snapshotter) }),
	}, nil
}

// dial connects to containerd, and makes sure that it answers.
func dial(ctx context.Context, socket, namespace string) (*client.Client, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, errors.Unwrap(err)
	}
	const wait = 5 * time.Second
	c, err := client.New(socket, client.WithTimeout(wait), client.WithDefaultNamespace(namespace))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if _, err := c.Version(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Name is its name in results.
func (t *Target) Name() string { return "containerd:" + t.options.Namespace }

// Lease protects the content from garbage collection. The lease is deleted at
// the end; after an interruption it expires.
func (t *Target) Lease(ctx context.Context) (context.Context, error) {
	lease, err := t.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseLife))
	if err != nil {
		return nil, err
	}
	t.lease = lease
	return leases.WithLease(ctx, lease.ID), nil
}

// Stored labels content that was there before.
func (t *Target) Stored(ctx context.Context, b *bundle.Bundle, n *bundle.Node) error {
	if _, ok := t.labelled.Load(n.Digest); ok {
		return nil
	}
	return label(ctx, t.Store, b, n)
}

// Finish records the members and the root, and deletes the lease.
func (t *Target) Finish(ctx context.Context, _ *bundle.Bundle, walked *bundle.Walked, name string) error {
	names := walked.Names(name)
	b := records.Bundle{Images: t.client.ImageService(), Name: name}
	if t.options.Namespace != KubernetesNamespace || t.options.MemberRecords {
		members := make([]records.Member, len(names)-1)
		for i, n := range names[1:] {
			members[i] = records.Member(n)
		}
		if err := b.Members(ctx, members, nil, walked.Skipped); err != nil {
			return err
		}
	}
	if err := b.Root(ctx, names[0].Target); err != nil {
		return err
	}
	return t.client.LeasesService().Delete(ctx, t.lease)
}

// Close closes the connection. Unfinished content stays until its lease
// expires.
func (t *Target) Close() error { return t.client.Close() }
