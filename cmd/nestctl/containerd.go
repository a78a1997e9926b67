package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/records"
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
	client  *client.Client
	options *pullOptions
	lease   leases.Lease
	unpack  sync.Mutex // one image at a time: members share layers

	labelled sync.Map // digests of what was committed with its labels
}

func openContainerd(ctx context.Context, o *pullOptions) (target, error) {
	c, err := dial(ctx, strings.TrimPrefix(o.address, "unix://"), o.namespace)
	if err != nil {
		return nil, fmt.Errorf("containerd does not answer at %s: %w; start it, name its --address, or pull into a directory with --to oci-layout:DIR", o.address, err)
	}
	return &daemon{Store: c.ContentStore(), client: c, options: o}, nil
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
func (d *daemon) stored(ctx context.Context, w *walker, n *node) error {
	if _, ok := d.labelled.Load(n.Digest); ok {
		return nil
	}
	return label(ctx, d.Store, w, n)
}

// done unpacks an image whose layers have arrived.
func (d *daemon) done(ctx context.Context, w *walker, n *node) error {
	if d.options.noUnpack || !images.IsManifestType(n.MediaType) {
		return nil
	}
	unpacks, err := d.unpacks(ctx, w, n)
	if err != nil || !unpacks {
		return err
	}
	d.unpack.Lock()
	defer d.unpack.Unlock()
	image := images.Image{Name: n.repository.String() + "@" + n.Digest.String(), Target: bare(n.Descriptor)}
	if err := client.NewImageWithPlatform(d.client, image, platforms.All).Unpack(ctx, d.options.snapshotter); err != nil {
		return fmt.Errorf("unpack %s: %w", image.Name, err)
	}
	return nil
}

// maxConfig bounds the image configs that are read; they are some KiB.
const maxConfig = 4 << 20

// unpacks tells whether a manifest is an image of the platform that was asked
// for, with --all-platforms of this host's.
func (d *daemon) unpacks(ctx context.Context, w *walker, n *node) (bool, error) {
	var config *node
	for _, c := range n.children {
		switch {
		case images.IsConfigType(c.MediaType):
			config = c
		case !images.IsLayerType(c.MediaType):
			return false, nil
		}
	}
	if config == nil || config.Size > maxConfig || len(n.children) < 2 {
		return false, nil
	}
	data, err := d.readConfig(ctx, config.Descriptor)
	if err != nil {
		return false, err
	}
	var image ocispec.Image
	if err := json.Unmarshal(data, &image); err != nil {
		return false, fmt.Errorf("config of %s@%s: %w", n.repository, n.Digest, err)
	}
	matcher := w.platform
	if matcher == nil {
		matcher = platforms.OnlyStrict(hostPlatform())
	}
	return matcher.Match(platforms.Normalize(image.Platform)), nil
}

// readConfig reads a config. What is in the store under its digest may be
// larger than its descriptor says.
func (d *daemon) readConfig(ctx context.Context, config ocispec.Descriptor) ([]byte, error) {
	r, err := d.ReaderAt(ctx, config)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() != config.Size {
		return nil, fmt.Errorf("config %s: size is %d, not %d", config.Digest, r.Size(), config.Size)
	}
	return io.ReadAll(content.NewReader(r))
}

// finish records the members and the root, and gives up the lease.
func (d *daemon) finish(ctx context.Context, w *walker, ref string, root *node) error {
	all := recordsOf(w, ref, root)
	b := records.Bundle{Images: d.client.ImageService(), Name: all[0].Name}
	if d.options.namespace != kubernetes || d.options.memberRecords {
		if err := b.Members(ctx, all[1:], nil, w.skipped); err != nil {
			return err
		}
	}
	if err := b.Root(ctx, all[0].Target); err != nil {
		return err
	}
	return d.client.LeasesService().Delete(ctx, d.lease)
}

func (d *daemon) close() error { return d.client.Close() }
