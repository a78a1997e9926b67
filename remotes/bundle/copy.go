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
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// CopyOptions say what of a bundle is copied, and how.
type CopyOptions struct {
	// Options say what is copied. A copy always includes configs, layers and the
	// root's carrier, and never includes non-distributable layers.
	Options
	// From is the client of the registries that the bundle is read from; nil
	// for a layout.
	From *registry.Client
	// FromParents copies content that a member names, but that only a
	// repository above the member has, to the copied member. Its readers may
	// then read it. Without FromParents such a copy fails.
	FromParents bool
	// Flatten copies everything into one repository, with plain indexes without
	// child namespaces.
	Flatten bool
	// Strategy is how nested indexes are published; "" is [nested.Auto].
	Strategy nested.Strategy
	// NoProtect omits the tags that protect members from the registry's
	// clean-up (docs/spec.md, section 8b).
	NoProtect bool
	// Progress is notified as the copy proceeds; may be nil.
	Progress Progress
}

// Copied is the result of a copy.
type Copied struct {
	*Walked
	Digest   digest.Digest   // of the root at the destination
	Strategy nested.Strategy // how a nested index was published; "" for another root
	Placed   []string        // the members at the destination, repository@digest
	Uploaded int64           // blobs
	There    int64           // blobs that were at the destination, or were mounted
	Bytes    int64           // of the blobs that were uploaded
}

// Copy copies a bundle to a repository, its members to the repositories below
// it by their child namespaces, and the root last, under a tag if one is given.
// Indexes keep their bytes. Content at the destination is not sent again, so
// that running an interrupted copy again completes it.
func Copy(ctx context.Context, b *Bundle, to *registry.Client, parent auth.Repository, tag string, o CopyOptions) (*Copied, error) {
	copied, err := CopyAll(ctx, to, []Copying{{b, parent, tag, o}})
	if err != nil {
		return nil, err
	}
	return copied[0], nil
}

// Copying is one of several bundles that are copied to one registry.
type Copying struct {
	Bundle *Bundle
	Parent auth.Repository // that it is copied to
	Tag    string
	CopyOptions
}

// Ref is what the copy will be called; without a tag, its repository.
func (c Copying) Ref() string { return strings.TrimSuffix(c.Parent.String()+":"+c.Tag, ":") }

// CopyAll is [Copy] for several bundles. A blob that they share is sent once,
// and mounted after that. Two that would have one name are a usage error,
// before anything is sent. So is content that a source leaves out, and the
// destination does not have; its class is errdefs.ErrNotFound.
func CopyAll(ctx context.Context, to *registry.Client, all []Copying) (copied []*Copied, err error) {
	if err = CheckRefs(all); err != nil {
		return nil, err
	}
	blobs, lacks, transfers := newMovedBlobs(), delta.NewLacking(), make([]*transfer, len(all))
	for i, c := range all {
		c.OmitNonDistributable = true
		transfers[i] = newTransfer(c.Bundle, to, c.Parent, c.CopyOptions)
		transfers[i].blobs = blobs
		if err = transfers[i].findRest(ctx, lacks); err != nil {
			return nil, err
		}
	}
	if err = lacks.Err(); err != nil {
		return nil, err
	}
	for i, c := range all {
		c.Bundle.expect(transfers[i].show)
	}
	for i, c := range all {
		one, err := transfers[i].copy(ctx, c.Tag)
		if err != nil {
			return nil, err
		}
		copied = append(copied, one)
	}
	return copied, nil
}

// CheckRefs refuses a tag that two bundles would have, as [CopyAll] does.
func CheckRefs(all []Copying) error {
	roots := map[string]digest.Digest{}
	for _, c := range all {
		root := c.Bundle.Root.Digest
		if other, ok := roots[c.Ref()]; ok && other != root && c.Tag != "" {
			return usage.Errorf("two sources would be %s, with other content (%s and %s); copy them one by one", c.Ref(), oci.Short(other), oci.Short(root))
		}
		roots[c.Ref()] = root
	}
	return nil
}

// copy copies everything, the root last.
func (p *transfer) copy(ctx context.Context, tag string) (*Copied, error) {
	walked, err := p.move(ctx)
	if err != nil {
		return nil, err
	}
	copied := &Copied{Walked: walked, Placed: []string{}}
	if copied.Strategy, copied.Digest, err = p.finish(ctx, walked.Root, tag); err != nil {
		return nil, err
	}
	for _, n := range walked.MemberNodes() {
		at, err := p.destination(ctx, n)
		if err != nil {
			return nil, err
		}
		copied.Placed = append(copied.Placed, at.String()+"@"+p.copiedDigest(n).String())
	}
	copied.Uploaded, copied.There, copied.Bytes = p.uploaded.Load(), p.there.Load(), p.bytes.Load()
	return copied, nil
}

func newTransfer(b *Bundle, to *registry.Client, parent auth.Repository, o CopyOptions) *transfer {
	how := moverOptions{strategy: cmp.Or(o.Strategy, nested.Auto), single: o.Flatten, plain: o.Flatten, show: o.Progress}
	if !o.NoProtect && !o.Flatten {
		how.protection = nested.Protect(b.Root.Digest)
	}
	return newMover(to, o.Concurrent, how).transfer(newOwner(b, o.From, o.FromParents), parent, o.Options)
}

// finish copies the root itself, after everything that it points to.
func (p *transfer) finish(ctx context.Context, root *Node, tag string) (how nested.Strategy, d digest.Digest, err error) {
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

// finishCarrier copies a root that was in a carrier, as it was.
func (p *transfer) finishCarrier(ctx context.Context, carrier *Node, index publisher, tag string) error {
	data := p.bytesOf(carrier.Digest)
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	if manifest.Config.Digest != ocispec.DescriptorEmptyJSON.Digest { // another tool's carrier
		return index.carry(ctx, p.parent, tag)
	}
	if err := index.putCarried(ctx, p.parent); err != nil {
		return err
	}
	return putContent(ctx, p.registries, p.parent, tag, carrier.Descriptor, data)
}
