package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

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
	registries remotes.Resolver
	index      []byte
	desc       ocispec.Descriptor
}

// put pushes content to a repository, a manifest under a tag if one is named.
// What is there already is no error.
func (p *indexPublisher) put(ctx context.Context, to auth.Repository, tag string, desc ocispec.Descriptor, data []byte) error {
	ref := to.String() + "@" + desc.Digest.String()
	if tag != "" {
		ref = to.String() + ":" + tag
	}
	pusher, err := p.registries.Pusher(ctx, ref)
	if err != nil {
		return err
	}
	w, err := pusher.Push(ctx, desc)
	if err == nil {
		defer w.Close()
		err = content.Copy(ctx, w, bytes.NewReader(data), desc.Size, desc.Digest)
	}
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// protect tags each member in its own repository, so that the registry's
// clean-up keeps it.
func (p *indexPublisher) protect(ctx context.Context, members []indexSource) error {
	tag := "nested-" + p.desc.Digest.Encoded()[:12]
	for _, m := range members {
		if err := p.put(ctx, m.repository, tag, m.desc, m.manifest); err != nil {
			return fmt.Errorf("tag %s in %s: %w; without the right to push there use --no-protect", tag, m.repository, err)
		}
	}
	return nil
}

// publish pushes the index under a tag, in the way that was asked for or in the
// first that the registry takes, and returns which it was.
func (p *indexPublisher) publish(ctx context.Context, to auth.Repository, tag, strategy string) (string, error) {
	if strategy != "carrier" {
		err := p.put(ctx, to, tag, p.desc, p.index)
		if err == nil {
			return "reference", nil
		}
		if !refused(err) {
			return "", err
		}
		if strategy == "reference" {
			return "", fmt.Errorf("%s does not take an index whose members are in other repositories: %w; use --strategy carrier, which it takes as an image manifest", to.Host(), err)
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
	blob := p.desc
	blob.MediaType = "application/octet-stream" // so that it is pushed as one
	config := ocispec.DescriptorEmptyJSON
	for _, b := range []struct {
		desc ocispec.Descriptor
		data []byte
	}{{blob, p.index}, {config, config.Data}} {
		if err := p.put(ctx, to, "", b.desc, b.data); err != nil {
			return err
		}
	}
	return p.put(ctx, to, tag, ocispec.Descriptor{MediaType: carrier.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data)
}
