package bundle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// CopyOptions say what of a bundle is copied, and how.
type CopyOptions struct {
	// Options say what is copied. Copies are with configs and layers, the carrier
	// of a root, and without what is not to be distributed, whatever they say.
	Options
	// From are the registries that the bundle is read from; nil for a layout.
	From *registry.Client
	// FromParents gives content of the repositories above a member, which its own
	// repository lacks, to the readers of the copied member. Without it, a copy that
	// would do so ends with an error.
	FromParents bool
	// Flatten brings all into one repository, in plain indexes without child
	// namespaces.
	Flatten bool
	// Strategy is that of nested indexes; "" is [nested.Auto].
	Strategy nested.Strategy
	// NoProtect leaves members without the tags that keep them from the registry's
	// clean-up (docs/spec.md, section 8b).
	NoProtect bool
	// Progress is told how far it is; nil for nobody.
	Progress Progress
}

// Copied is what a copy did.
type Copied struct {
	*Walked
	Digest   digest.Digest   // of the root at the destination
	Strategy nested.Strategy // by which a nested index was put; "" for another root
	Placed   []string        // the members at the destination, repository@digest
	Uploaded int64           // blobs
	There    int64           // blobs that were there, or were mounted
	Bytes    int64           // of the blobs that were uploaded
}

// Copy copies a bundle to a repository, its members to the repositories below
// that by their child namespaces, and the root last, under a tag if one is given.
// Indexes keep their bytes. What is there is not sent again, so that a copy that
// was interrupted goes on where it stopped.
func Copy(ctx context.Context, b *Bundle, to *registry.Client, parent auth.Repository, tag string, o CopyOptions) (*Copied, error) {
	o.OmitNonDistributable = true
	p := newPassage(b, to, parent, o)
	if !o.NoProtect && !o.Flatten {
		p.protection = nested.Protect(b.Root.Digest)
	}
	walked, err := p.move(ctx)
	if err != nil {
		return nil, err
	}
	copied := &Copied{Walked: walked, Placed: []string{}}
	if copied.Strategy, copied.Digest, err = p.finish(ctx, walked.Root, tag); err != nil {
		return nil, err
	}
	for _, n := range walked.MemberNodes() {
		at, err := p.to(ctx, n)
		if err != nil {
			return nil, err
		}
		copied.Placed = append(copied.Placed, at.String()+"@"+p.placed(n).String())
	}
	copied.Uploaded, copied.There, copied.Bytes = p.uploaded.Load(), p.there.Load(), p.bytes.Load()
	return copied, nil
}

func newPassage(b *Bundle, to *registry.Client, parent auth.Repository, o CopyOptions) *passage {
	if o.Concurrent == 0 {
		o.Concurrent = DefaultConcurrent
	}
	m := newMover(to, parent, cmp.Or(o.Strategy, nested.Auto), o.Concurrent, o.Progress)
	m.single, m.plain = o.Flatten, o.Flatten
	return &passage{m, newOwner(b, o.From, o.FromParents), o.Options}
}

// Planned is content and where it would be.
type Planned struct {
	Repository auth.Repository
	ocispec.Descriptor
}

// Plan says what [Copy] would bring where, and brings nothing. Content that would
// be in one repository by several paths stands there as often.
func Plan(ctx context.Context, b *Bundle, parent auth.Repository, o CopyOptions) ([]Planned, error) {
	p := newPassage(b, nil, parent, o)
	o.Blobs, o.OmitNonDistributable = true, true
	walked, err := b.Walk(ctx, o.Options, Visitor{Home: p.home})
	if err != nil {
		return nil, err
	}
	var planned []Planned
	for _, n := range walked.Root.Whole() {
		if n.Missing {
			continue
		}
		to, err := p.to(ctx, n)
		if err != nil {
			return nil, err
		}
		planned = append(planned, Planned{to, n.Descriptor})
	}
	return planned, nil
}

// finish brings the root itself: everything that it points to is there.
func (p *passage) finish(ctx context.Context, root *Node, tag string) (how nested.Strategy, d digest.Digest, err error) {
	desc, data := Bare(root.Descriptor), p.bytesOf(root.Digest)
	var members []nested.Entry
	if p.plain {
		desc, data, err = p.flatten(ctx, root)
	} else {
		members, err = p.bundle.Fetcher.Members(ctx, root.Descriptor) // by what it says: of them none may be selected
	}
	if err != nil {
		return "", "", err
	}
	to := p.registries
	if len(members) == 0 {
		if !oci.IsManifestOrIndex(desc.MediaType) {
			return "", "", fmt.Errorf("%s is neither a manifest nor an index", desc.Digest)
		}
		return "", desc.Digest, incomplete(p.parent, desc, putContent(ctx, to, p.parent, tag, desc, data))
	}
	index := publisher{to, data, desc}
	if root.Carrier != nil && p.strategy == nested.Auto {
		return nested.Carrier, desc.Digest, p.finishCarrier(ctx, root.Carrier, index, tag)
	}
	how, err = index.publish(ctx, p.parent, tag, p.strategy)
	return how, desc.Digest, err
}

// finishCarrier brings a root that was carried as it was.
func (p *passage) finishCarrier(ctx context.Context, carrier *Node, index publisher, tag string) error {
	data := p.bytesOf(carrier.Digest)
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	if manifest.Config.Digest != ocispec.DescriptorEmptyJSON.Digest { // somebody else's
		return index.carry(ctx, p.parent, tag)
	}
	if err := index.putCarried(ctx, p.parent); err != nil {
		return err
	}
	return putContent(ctx, p.registries, p.parent, tag, carrier.Descriptor, data)
}

// below is a repository's name as seen from one above it, "" for that itself.
func below(top, r auth.Repository) string {
	return strings.TrimPrefix(strings.TrimPrefix(r.Name(), top.Name()), "/")
}
