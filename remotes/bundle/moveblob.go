package bundle

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/meter"
)

// movedBlob is where a blob is at the destination. While it is on its way to
// the first repository, the other copies of it wait, to be mounted from there.
type movedBlob struct {
	sync.Mutex
	in []auth.Repository
}

// movedBlobs are the blobs of one copy, which may be of several bundles.
type movedBlobs struct {
	mu  sync.Mutex
	all map[digest.Digest]*movedBlob
}

func newMovedBlobs() *movedBlobs { return &movedBlobs{all: map[digest.Digest]*movedBlob{}} }

func (m *movedBlobs) of(d digest.Digest) *movedBlob {
	m.mu.Lock()
	defer m.mu.Unlock()
	blob, ok := m.all[d]
	if !ok {
		blob = new(movedBlob)
		m.all[d] = blob
	}
	return blob
}

// moveBlob brings a blob into a repository: mounted from another repository of
// the registry where possible, or else uploaded.
func (p *transfer) moveBlob(ctx context.Context, n *Node, to auth.Repository) error {
	blob := p.blobs.of(n.Digest)
	blob.Lock()
	mountable := blob.in
	if len(mountable) > 0 {
		blob.Unlock()
		return p.moveFrom(ctx, n, to, mountable)
	}
	defer blob.Unlock()
	err := p.moveFrom(ctx, n, to, nil)
	if err == nil {
		blob.in = []auth.Repository{to}
	}
	return err
}

// moveFrom mounts or uploads a blob. It may be mountable from repositories of
// the destination.
func (p *transfer) moveFrom(ctx context.Context, n *Node, to auth.Repository, mountable []auth.Repository) error {
	return p.limited(ctx, func() error {
		at, err := p.sources(ctx, n)
		switch {
		case err != nil:
			return err
		case p.source != nil && n.Repository.Host() == to.Host():
			mountable = at
		case len(mountable) > 0 && p.source != nil:
			if _, err := p.firstWith(ctx, n); err != nil {
				return err
			}
		}
		return p.upload(ctx, n, to, mountable, at)
	})
}

// sources are the repositories that a blob may come from.
func (p *transfer) sources(ctx context.Context, n *Node) ([]auth.Repository, error) {
	home, err := p.home(ctx, n)
	if p.fromParents && p.source != nil {
		return append([]auth.Repository{home}, n.Repository.Above(p.bundle.Repository)...), err
	}
	return []auth.Repository{home}, err
}

// upload uploads a blob from the first of some repositories that has it.
func (p *transfer) upload(ctx context.Context, n *Node, to auth.Repository, mountable, at []auth.Repository) error {
	if rest, ok := p.rest.At(to, n.Descriptor); ok && rest == to {
		p.there.Add(1)
		return nil
	} else if ok {
		mountable = append([]auth.Repository{rest}, mountable...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an upload that nothing was written to ends with its context alone
	pusher, err := p.registries.Pusher(ctx, to.String()+"@"+n.Digest.String())
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: n.Digest, Size: n.Size}
	upload, err := pusher.Push(ctx, oci.MountFrom(desc, mountable...))
	if errdefs.IsAlreadyExists(err) {
		p.there.Add(1)
		return nil
	}
	if err != nil {
		return refusal(to, err)
	}
	defer upload.Close()
	body, err := p.bundle.Fetcher.FetchFrom(ctx, n.Descriptor, at[0], at[1:]...)
	if err != nil {
		return p.explainUnread(ctx, n, err)
	}
	defer body.Close()
	from := meter.NewSource(p.show.Begin(n).Body(body), n.Size)
	if err := content.Copy(ctx, upload, from, n.Size, n.Digest); err != nil {
		if from.Err() != nil {
			return p.explainUnread(ctx, n, err)
		}
		return fmt.Errorf("%s@%s: %w", to, n.Digest, err)
	}
	p.uploaded.Add(1)
	p.bytes.Add(n.Size)
	return nil
}

// explainUnread says why a blob could not be read.
func (p *transfer) explainUnread(ctx context.Context, n *Node, err error) error {
	if errdefs.IsNotFound(err) && p.source != nil {
		return p.lacks(ctx, n)
	}
	return p.bundle.Explain(n, err)
}
