package plugin

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// progress combines the progress of several transfers. The caller's function is
// called by one of them at a time.
type progress struct {
	mu     sync.Mutex
	report transfer.ProgressFunc // nil: none was given
	last   *transfer.Progress    // containerd's message that everything is done, kept until it is
}

func newProgress(opts []transfer.Opt) *progress {
	var c transfer.Config
	for _, o := range opts {
		o(&c)
	}
	return &progress{report: c.Progress}
}

func (p *progress) send(event transfer.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report(event)
}

// ofRoot reports the transfer of the root.
func (p *progress) ofRoot(v *view) []transfer.Opt {
	if p.report == nil {
		return nil
	}
	return []transfer.Opt{transfer.WithProgress(func(event transfer.Progress) {
		if event.Name == "" && strings.HasPrefix(event.Event, "Completed") && v.nested {
			p.last = &event
			return
		}
		p.send(event)
	})}
}

// ofMember reports the transfer of a member: its content, below its own name.
func (p *progress) ofMember() []transfer.Opt {
	if p.report == nil {
		return nil
	}
	return []transfer.Opt{transfer.WithProgress(func(event transfer.Progress) {
		if event.Name != "" { // otherwise it is about the transfer itself
			p.send(event)
		}
	})}
}

// of reports the state of an image. There has to be a function.
func (p *progress) of(image ocispec.Descriptor, name, event string) {
	p.send(transfer.Progress{Event: event, Name: name, Desc: &image})
}

// end reports what was stored, and that everything is done.
func (p *progress) end(stored []images.Image) {
	if p.report == nil {
		return
	}
	for _, image := range stored {
		p.of(image.Target, image.Name, "saved")
	}
	if p.last != nil {
		p.send(*p.last)
	}
}

// hand transfers a member through containerd's service. For a member whose
// content is small only the beginning and the end are reported: for more, each
// of the many transfers would examine everything that arrives three times a
// second.
func (p *pull) hand(ctx context.Context, m member, v *view) error {
	src := &memberSource{p, v.name, m.Descriptor}
	if p.progress.report == nil || !p.isSmall(ctx, m) {
		return p.Transferrer.Transfer(ctx, src, v, p.progress.ofMember()...)
	}
	p.progress.of(m.Descriptor, v.name, "fetching image content")
	if err := p.Transferrer.Transfer(ctx, src, v); err != nil {
		return err
	}
	p.progress.of(m.Descriptor, v.name, "saved")
	return nil
}

// isSmall reports whether a member is a manifest with small content only.
func (p *pull) isSmall(ctx context.Context, m member) bool {
	if !images.IsManifestType(m.MediaType) {
		return false
	}
	children, err := p.fetcher.Children(ctx, m.Descriptor)
	large := func(e nested.Entry) bool { return !registry.IsSmall(e.Descriptor) }
	return err == nil && !slices.ContainsFunc(children, large)
}
