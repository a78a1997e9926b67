package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
	if !ok || !nested.IsDocument(desc.MediaType) {
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

// protection names the tags that keep members from a registry's clean-up.
type protection struct {
	index digest.Digest

	mu    sync.Mutex
	first map[auth.Repository]digest.Digest
}

func protect(index digest.Digest) *protection {
	return &protection{index: index, first: map[auth.Repository]digest.Digest{}}
}

// tags are those that a member may have.
func (p *protection) tags(member digest.Digest) []string {
	tag := "nested-" + p.index.Encoded()[:12]
	return []string{tag, tag + "-" + member.Encoded()[:12]}
}

// tag is the tag for a member in its repository: nested-<short digest of the
// index>, and for further members of the same repository with their own short
// digest after it.
func (p *protection) tag(in auth.Repository, member digest.Digest) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	tags := p.tags(member)
	if first, ok := p.first[in]; ok && first != member {
		return tags[1]
	}
	p.first[in] = member
	return tags[0]
}

// protect tags each member in its own repository, so that the registry's
// clean-up keeps it.
func (p *indexPublisher) protect(ctx context.Context, members []indexSource) error {
	protection := protect(p.desc.Digest)
	for _, m := range members {
		is, err := m.nested(true)
		if err != nil {
			return err
		}
		tag := protection.tag(m.repository, m.desc.Digest)
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

// publish pushes the index under a tag, in the way that was asked for or in the
// first that the registry takes, and returns which it was.
func (p *indexPublisher) publish(ctx context.Context, to auth.Repository, tag, strategy string) (string, error) {
	if strategy != "carrier" {
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
	layer := p.desc
	layer.Data = p.index
	carrier := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: nested.CarrierType,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{layer},
	}
	data, err := json.Marshal(carrier)
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		carrier.Layers[0].Data = nil
		if data, err = json.Marshal(carrier); err != nil {
			return err
		}
	}
	if err := p.putCarried(ctx, to); err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: carrier.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return putContent(ctx, p.registries, to, tag, desc, data)
}
