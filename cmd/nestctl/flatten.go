package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// placeFlat brings a document into the parent: a manifest as it is, an index
// as a plain one of what was selected in it.
func (m *mover) placeFlat(w *bundle.Walker, n *bundle.Node) error {
	desc, data, err := m.flatten(w, n)
	if err != nil {
		return err
	}
	return m.putDocument(w, n, m.parent, desc, data)
}

// flatten returns a document without child namespaces. One that has none, and
// all of whose entries are as they were, stays as it is.
func (m *mover) flatten(w *bundle.Walker, n *bundle.Node) (ocispec.Descriptor, []byte, error) {
	data := m.document(n.Digest)
	n.Flat = bundle.Bare(n.Descriptor)
	if !images.IsIndexType(n.MediaType) {
		return n.Flat, data, nil
	}
	entries, err := w.Source.Children(w.Ctx, n.Descriptor)
	if err != nil {
		return n.Flat, nil, err
	}
	flat, err := flattenIndex(data, entries, n.Children)
	if err != nil {
		return n.Flat, nil, fmt.Errorf("%s@%s: %w", n.Repository, n.Digest, err)
	}
	if flat != nil {
		data = flat
		n.Flat.Digest, n.Flat.Size = digest.FromBytes(data), int64(len(data))
	}
	return n.Flat, data, nil
}

// flattenIndex returns an index of the entries that have nodes, with the
// nodes' flat descriptors; nil when nothing changes.
func flattenIndex(data []byte, entries []nested.Entry, nodes []*bundle.Node) ([]byte, error) {
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
		if n == nil || n.Missing || n.Flat.Digest == "" && oci.IsManifestOrIndex(n.MediaType) {
			changed = true
			continue
		}
		var different bool
		if different, err = flattenEntry(raw[i], e, n); err != nil {
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
func nodeOf(e nested.Entry, nodes []*bundle.Node) *bundle.Node {
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

// flattenEntry takes the child namespace out of an entry, keeps it as the name
// of the entry, and lets it point to the flat content.
func flattenEntry(entry map[string]json.RawMessage, e nested.Entry, n *bundle.Node) (changed bool, err error) {
	if oci.IsManifestOrIndex(n.MediaType) && n.Flat.Digest != e.Digest {
		changed = true
		for key, value := range map[string]any{"mediaType": n.Flat.MediaType, "digest": n.Flat.Digest, "size": n.Flat.Size} {
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
