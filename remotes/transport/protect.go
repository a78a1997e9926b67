package transport

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// protect tags what a nested index names, which a carrier does not, so that the
// registry's clean-up keeps it (docs/spec.md, section 8b): with the credential of
// who pushes the index. Whoever may not push there pushes the index all the same, as
// before there were such tags, and is warned. It returns how much has no tag. A
// transport for one client pushes to the client's own repository alone.
func (p *push) protect(ctx context.Context) (without int, err error) {
	if p.before == nil {
		return 0, nil
	}
	var refused atomic.Int64
	protection := nested.Protect(p.desc.Digest)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, place := range p.found {
		if !isManifest(place) {
			continue
		}
		tag := protection.Tag(place.First(), place.Descriptor().Digest) // in the order of the index
		group.Go(func() error {
			failed := p.keep(ctx, place, tag)
			if registry.IsRefusal(failed) {
				refused.Add(1)
				return nil
			}
			return failed
		})
	}
	err = group.Wait()
	return int(refused.Load()), err
}

// keep puts a manifest or index that is there under a tag: as it is or, where the
// registry has it as a blob, its carrier.
func (p *push) keep(ctx context.Context, place nested.Place, tag string) error {
	ctx, end := p.finder.Part(ctx, p.q)
	defer end()
	desc := place.Descriptor()
	data, err := p.finder.ReadNamed(ctx, p.q, desc)
	if err != nil {
		return err
	}
	p.finder.Began(ctx)
	err = p.tag(ctx, place.First(), tag, desc.MediaType, data)
	if !images.IsIndexType(desc.MediaType) || !registry.IsRefusal(err) {
		return err
	}
	carrier, carried, failed := nested.NewCarrier(ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}, data)
	if failed != nil {
		return failed
	}
	return p.tag(ctx, place.First(), tag, carrier.MediaType, carried)
}

// tag puts a manifest under a tag of a member's repository, with the credential for
// that.
func (p *push) tag(ctx context.Context, at auth.Repository, tag, mediaType string, data []byte) error {
	resp, err := p.before.Send(ctx, registry.Request{
		Repository: at, Method: http.MethodPut, Path: "manifests/" + tag, Header: http.Header{"Content-Type": {mediaType}}, Body: data,
	})
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		err = registry.ReadStatusError(resp)
	}
	_ = resp.Body.Close()
	return err
}
