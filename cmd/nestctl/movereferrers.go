package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// refer lets a registry know what refers to a node, once that is there: one
// without the referrers API lists what a tag says (distribution spec,
// "Pushing Manifests with Subject").
func (m *mover) refer(w *walker, n *node, to auth.Repository) error {
	if len(n.referrers) == 0 {
		return nil
	}
	return m.once(put{to, kindOf{"referrers of " + n.Digest, true}}, func() error { return m.listReferrers(w.ctx, n, to) })
}

func (m *mover) listReferrers(ctx context.Context, n *node, to auth.Repository) error {
	f, err := m.registries.Fetcher(ctx, to.String()+"@"+n.Digest.String())
	if err != nil {
		return err
	}
	listed, err := f.(remotes.ReferrersFetcher).FetchReferrers(ctx, n.Digest)
	if err != nil {
		return fmt.Errorf("referrers of %s@%s: %w", to, n.Digest, err)
	}
	before := len(listed)
	for _, r := range n.referrers {
		if !slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == r.Digest }) {
			subject, desc := describeReferrer(bare(r.Descriptor), m.document(r.Digest))
			if subject == n.Digest { // whatever the source's list says
				listed = append(listed, desc)
			}
		}
	}
	if len(listed) == before {
		return nil
	}
	data, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: listed})
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return m.put(ctx, to, nested.ReferrersTag(n.Digest), desc, data)
}
