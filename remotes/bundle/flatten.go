package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// copyFlattened copies a manifest or an index into the parent: a manifest as it is,
// an index as a plain one of its selected entries.
func (p *transfer) copyFlattened(ctx context.Context, n *Node) error {
	desc, data, err := p.flatten(ctx, n)
	if err != nil {
		return err
	}
	return p.putManifest(ctx, n, p.parent, desc, data)
}

// flatten returns a manifest or an index without child namespaces. An index
// without any, all of whose entries are unchanged, stays as it is.
func (p *transfer) flatten(ctx context.Context, n *Node) (ocispec.Descriptor, []byte, error) {
	data := p.bytesOf(n.Digest)
	plain := Bare(n.Descriptor)
	if !images.IsIndexType(n.MediaType) {
		p.setPlain(n, plain)
		return plain, data, nil
	}
	entries, err := p.bundle.Fetcher.Children(ctx, n.Descriptor)
	if err != nil {
		return plain, nil, err
	}
	flat, err := p.flattenIndex(data, entries, n.Children)
	if err != nil {
		return plain, nil, fmt.Errorf("%s@%s: %w", n.Repository, n.Digest, err)
	}
	if flat != nil {
		data = flat
		plain.Digest, plain.Size = digest.FromBytes(data), int64(len(data))
	}
	p.setPlain(n, plain)
	return plain, data, nil
}

// flattenIndex returns an index of the entries that have nodes, with the
// nodes' flat descriptors; nil when nothing changes.
func (p *transfer) flattenIndex(data []byte, entries []nested.Entry, nodes []*Node) ([]byte, error) {
	var index map[string]json.RawMessage
	var raw []map[string]json.RawMessage
	err := json.Unmarshal(data, &index)
	if err == nil {
		err = json.Unmarshal(index["manifests"], &raw)
	}
	if err != nil {
		return nil, err
	}
	if len(raw) != len(entries) {
		return nil, errors.New("not all of its entries can be read")
	}
	changed := false
	kept := []map[string]json.RawMessage{}
	for i, e := range entries {
		n := nodeOf(e, nodes)
		if n == nil || n.Missing || p.plainOf(n).Digest == "" && n.isManifestOrIndex() {
			changed = true
			continue
		}
		var different bool
		if different, err = flattenEntry(raw[i], e, p.plainOf(n)); err != nil {
			return nil, err
		}
		changed = changed || different
		kept = append(kept, raw[i])
	}
	if !changed {
		return nil, nil
	}
	if index["manifests"], err = json.Marshal(kept); err != nil {
		return nil, err
	}
	return json.Marshal(index)
}

// nodeOf is the node for an entry, or for the carrier that it names.
func nodeOf(e nested.Entry, nodes []*Node) *Node {
	for _, n := range nodes {
		entry := n
		if n.Carrier != nil {
			entry = n.Carrier
		}
		if entry.Digest == e.Digest && entry.Child == e.Child {
			return n
		}
	}
	return nil
}

// flattenEntry removes the child namespace from an entry, keeps it as the name
// of the entry, and points the entry to the flat content.
func flattenEntry(entry map[string]json.RawMessage, e nested.Entry, plain ocispec.Descriptor) (changed bool, err error) {
	if plain.Digest != "" && plain.Digest != e.Digest {
		changed = true
		for key, value := range map[string]any{"mediaType": plain.MediaType, "digest": plain.Digest, "size": plain.Size} {
			if entry[key], err = json.Marshal(value); err != nil {
				return false, err
			}
		}
		delete(entry, "data")
		delete(entry, "artifactType")
	}
	if e.Child == (nested.Child{}) {
		return changed, nil
	}
	annotations := map[string]string{}
	if len(entry["annotations"]) > 0 {
		if err = json.Unmarshal(entry["annotations"], &annotations); err != nil {
			return false, err
		}
	}
	for _, key := range nested.DefaultKeys.Annotations {
		delete(annotations, key)
	}
	for _, key := range nested.DefaultKeys.Properties {
		delete(entry, key)
	}
	if _, named := annotations[ocispec.AnnotationRefName]; !named {
		annotations[ocispec.AnnotationRefName] = e.Child.String()
	}
	entry["annotations"], err = json.Marshal(annotations)
	return true, err
}

// setPlain records which descriptor replaces a manifest or an index in plain
// indexes.
func (p *transfer) setPlain(n *Node, desc ocispec.Descriptor) {
	p.heldMu.Lock()
	defer p.heldMu.Unlock()
	p.plains[n] = desc
}

// plainOf is the descriptor that replaces a manifest or an index in plain
// indexes; empty for other content.
func (p *transfer) plainOf(n *Node) ocispec.Descriptor {
	p.heldMu.Lock()
	defer p.heldMu.Unlock()
	return p.plains[n]
}
