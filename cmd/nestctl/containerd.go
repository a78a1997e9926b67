package main

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

	"github.com/nestedoci/nested/internal/records"
	"github.com/nestedoci/nested/remotes/bundle"
)

const (
	defaultAddress = "/run/containerd/containerd.sock"
	// kubernetes is the namespace of CRI. The kubelet takes an image that it
	// has no record of pulling for one that every pod may use, so that no
	// records of members are made there unless asked for.
	kubernetes = "k8s.io"
	// leaseLife is how long an interrupted pull can be gone on with.
	leaseLife = 24 * time.Hour
)

// daemon is containerd as a target.
type daemon struct {
	content.Store
	client   *client.Client
	options  *pullOptions
	lease    leases.Lease
	unpacker func() (*unpacker, error) // when there is something to unpack

	labelled sync.Map // digests of what was committed with its labels
}

func openContainerd(ctx context.Context, o *pullOptions) (target, error) {
	c, err := dial(ctx, strings.TrimPrefix(o.address, "unix://"), o.namespace)
	if err != nil {
		return nil, fmt.Errorf("containerd does not answer at %s: %w; start it, name its --address, or pull into a directory with --to oci-layout:DIR", o.address, err)
	}
	return &daemon{
		Store:    c.ContentStore(),
		client:   c,
		options:  o,
		unpacker: sync.OnceValues(func() (*unpacker, error) { return newUnpacker(ctx, c, o.snapshotter) }),
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

func (d *daemon) name() string { return "containerd:" + d.options.namespace }

// leased protects what is pulled from garbage collection. The lease is given
// up at the end; after an interruption it ends by itself.
func (d *daemon) leased(ctx context.Context) (context.Context, error) {
	lease, err := d.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseLife))
	if err != nil {
		return nil, err
	}
	d.lease = lease
	return leases.WithLease(ctx, lease.ID), nil
}

// stored labels content that was there before.
func (d *daemon) stored(ctx context.Context, w *bundle.Walker, n *bundle.Node) error {
	if _, ok := d.labelled.Load(n.Digest); ok {
		return nil
	}
	return label(ctx, d.Store, w, n)
}

// finish records the members and the root, and gives up the lease.
func (d *daemon) finish(ctx context.Context, w *bundle.Walker, ref string, root *bundle.Node) error {
	all := recordsOf(w, ref, root)
	b := records.Bundle{Images: d.client.ImageService(), Name: all[0].Name}
	if d.options.namespace != kubernetes || d.options.memberRecords {
		if err := b.Members(ctx, all[1:], nil, w.Skipped); err != nil {
			return err
		}
	}
	if err := b.Root(ctx, all[0].Target); err != nil {
		return err
	}
	return d.client.LeasesService().Delete(ctx, d.lease)
}

func (d *daemon) close() error { return d.client.Close() }
