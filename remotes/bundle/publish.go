package bundle

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Anchor is a strategy of [Edit.Publish] alone: the index as it is, with a copy
// of the members' content beside it. Whoever may read its repository may then
// read the members.
const Anchor nested.Strategy = "anchor"

// publisher pushes an index to a registry (docs/spec.md, section 8).
type publisher struct {
	registries remotes.Resolver // only its Pusher is used
	index      []byte
	desc       ocispec.Descriptor
}

// putContent pushes content to a repository, a manifest under a tag if one is
// named. Content that exists is not an error.
func putContent(ctx context.Context, registries remotes.Resolver, to auth.Repository, tag string, desc ocispec.Descriptor, data []byte) error {
	ref := to.String() + "@" + desc.Digest.String()
	if tag != "" {
		ref = to.String() + ":" + tag
	}
	pusher, err := registries.Pusher(ctx, ref)
	if err != nil {
		return err
	}
	err = push(ctx, pusher, desc, data)
	if errdefs.IsAlreadyExists(err) {
		err = listReferrer(ctx, registries, to, desc, data)
	}
	return refusal(to, err)
}

// listReferrer has content that exists listed among the referrers of its
// subject, as the pusher does with what it writes.
func listReferrer(ctx context.Context, registries remotes.Resolver, at auth.Repository, desc ocispec.Descriptor, data []byte) error {
	lister, ok := registries.(interface {
		ListReferrer(context.Context, auth.Repository, ocispec.Descriptor, []byte) error
	})
	if !ok || !oci.IsManifestOrIndex(desc.MediaType) {
		return nil
	}
	return lister.ListReferrer(ctx, at, desc, data)
}

func push(ctx context.Context, pusher remotes.Pusher, desc ocispec.Descriptor, data []byte) error {
	w, err := pusher.Push(ctx, desc)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		if _, err = w.Write(data); err == nil {
			err = w.Commit(ctx, desc.Size, desc.Digest)
		}
		if !errors.Is(err, content.ErrReset) { // the request was sent again, with a token
			return err
		}
	}
}

// publish pushes the index under a tag by one of the strategies of
// docs/spec.md, section 8, and returns which. With auto, a registry that says
// that it keeps an index as it is may still refuse this one, for example
// because the parent's credential may not read the members: then it gets a
// carrier.
func (p publisher) publish(ctx context.Context, to auth.Repository, tag string, strategy nested.Strategy) (nested.Strategy, error) {
	asIs := strategy != nested.Carrier
	if strategy == nested.Auto {
		var err error
		if asIs, err = nested.KeepsReferences(ctx, p.registries, to); err != nil {
			return "", err
		}
	}
	if asIs {
		err := putContent(ctx, p.registries, to, tag, p.desc, p.index)
		switch {
		case err == nil && strategy == nested.Auto:
			return nested.Reference, nil
		case err == nil || strategy == Anchor || !refused(err):
			return strategy, err
		case strategy == nested.Reference:
			return "", avoidable(ByStrategy, "%s does not take an index whose members are in other repositories: %w", to.Host(), err)
		}
	}
	return nested.Carrier, p.carry(ctx, to, tag)
}

// refused reports whether a registry refused a manifest because of its content.
func refused(err error) bool {
	var status remoteserrors.ErrUnexpectedStatus
	return errors.As(err, &status) && (status.StatusCode == http.StatusBadRequest || status.StatusCode == http.StatusNotFound) &&
		strings.Contains(strings.ToUpper(string(status.Body)), "MANIFEST")
}

// putCarried pushes the content of a carrier.
func (p publisher) putCarried(ctx context.Context, to auth.Repository) error {
	index, config := p.desc, ocispec.DescriptorEmptyJSON
	index.MediaType = "application/octet-stream" // so that it is pushed as a blob
	if err := putContent(ctx, p.registries, to, "", index, p.index); err != nil {
		return err
	}
	return putContent(ctx, p.registries, to, "", config, config.Data)
}

// carry pushes the index as a blob, and the carrier under the tag.
func (p publisher) carry(ctx context.Context, to auth.Repository, tag string) error {
	desc, data, err := nested.NewCarrier(p.desc, p.index)
	if err != nil {
		return err
	}
	if err := p.putCarried(ctx, to); err != nil {
		return err
	}
	return putContent(ctx, p.registries, to, tag, desc, data)
}
