package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// indexPublisher brings an index to a registry (docs/spec.md, section 8).
type indexPublisher struct {
	registries remotes.Resolver // of which only Pusher is asked
	index      []byte
	desc       ocispec.Descriptor
}

// putContent pushes content to a repository, a manifest under a tag if one is
// named. What is there already is no error.
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

// listReferrer sees to it that what is there already is listed among the
// referrers of its subject, as the pusher does with what it writes.
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

// protect tags each member in its own repository, so that the registry's
// clean-up keeps it.
func (p *indexPublisher) protect(ctx context.Context, members []indexSource) error {
	protection := nested.Protect(p.desc.Digest)
	for _, m := range members {
		is, err := m.nested(true)
		if err != nil {
			return err
		}
		tag := protection.Tag(m.repository, m.desc.Digest)
		if is { // which may be a blob there
			member := indexPublisher{p.registries, m.manifest, m.desc}
			_, err = member.publish(ctx, m.repository, tag, "auto")
		} else {
			err = putContent(ctx, p.registries, m.repository, tag, m.desc, m.manifest)
		}
		switch {
		case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
			return fmt.Errorf("tag %s in %s: %w; without the right to push there use --no-protect", tag, m.repository, err)
		case err != nil:
			return fmt.Errorf("tag %s in %s: %w", tag, m.repository, err)
		}
	}
	return nil
}

// publish pushes the index under a tag in a way of docs/spec.md, section 8, and
// returns which it was. With auto, a registry that says that it keeps an index
// as it is may refuse this one all the same, as one whose members the parent's
// credential may not read: then a carrier.
func (p *indexPublisher) publish(ctx context.Context, to auth.Repository, tag, strategy string) (string, error) {
	asIs := strategy != "carrier"
	if strategy == "auto" {
		var err error
		if asIs, err = nested.KeepsReferences(ctx, p.registries, to); err != nil {
			return "", err
		}
	}
	if asIs {
		err := putContent(ctx, p.registries, to, tag, p.desc, p.index)
		switch {
		case err == nil && strategy == "auto":
			return "reference", nil
		case err == nil || strategy == "anchor" || !refused(err):
			return strategy, err
		case strategy == "reference":
			return "", fmt.Errorf("%s does not take an index whose members are in other repositories: %w; "+
				"use --strategy carrier (it takes an image manifest that carries the index), or --strategy anchor of nestctl index create "+
				"(the members' content in %s, too, for all who may read that)", to.Host(), err, to.Name())
		}
	}
	return "carrier", p.carry(ctx, to, tag)
}

// warnOfCleanUp says what a registry's clean-up may do to what is published
// (docs/spec.md, section 8b).
func warnOfCleanUp(stderr io.Writer, strategy string, noProtect bool) {
	if strategy == "reference" {
		fmt.Fprintln(stderr, "warning: --strategy reference: the clean-up of a registry that does not know child namespaces may delete the index, "+
			"or fail for the whole registry; --strategy carrier avoids that (docs/registries.md)")
	}
	if noProtect {
		fmt.Fprintln(stderr, "warning: --no-protect: a registry's clean-up may delete members, or parts of them, that have no tag in their own repository; "+
			"tag them there yourself (docs/registries.md)")
	}
}

// refused tells whether a registry did not take a manifest for what it says.
func refused(err error) bool {
	var status remoteserrors.ErrUnexpectedStatus
	return errors.As(err, &status) && (status.StatusCode == http.StatusBadRequest || status.StatusCode == http.StatusNotFound) &&
		strings.Contains(strings.ToUpper(string(status.Body)), "MANIFEST")
}

// putCarried pushes what a carrier points to.
func (p *indexPublisher) putCarried(ctx context.Context, to auth.Repository) error {
	index, config := p.desc, ocispec.DescriptorEmptyJSON
	index.MediaType = "application/octet-stream" // so that it is pushed as a blob
	if err := putContent(ctx, p.registries, to, "", index, p.index); err != nil {
		return err
	}
	return putContent(ctx, p.registries, to, "", config, config.Data)
}

// carry pushes the index as a blob, and the carrier under the tag.
func (p *indexPublisher) carry(ctx context.Context, to auth.Repository, tag string) error {
	desc, data, err := nested.NewCarrier(p.desc, p.index)
	if err != nil {
		return err
	}
	if err := p.putCarried(ctx, to); err != nil {
		return err
	}
	return putContent(ctx, p.registries, to, tag, desc, data)
}
