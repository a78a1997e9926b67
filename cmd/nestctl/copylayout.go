package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// tag is the tag that was chosen in a layout, if there was one.
func (l *layoutSource) tag() string {
	if digest.Digest(l.reference).Validate() == nil {
		return ""
	}
	root, err := l.root()
	if err != nil || l.reference != "" {
		return l.reference
	}
	for _, d := range l.index.Manifests {
		if d.Digest == root.Digest {
			return d.Annotations[ocispec.AnnotationRefName]
		}
	}
	return ""
}

// toLayout brings everything into a layout, as pull does.
func (o *copyOptions) toLayout(ctx context.Context, from *copySource, place layoutPlace, metrics *nested.Metrics, stderr io.Writer) (_ *copied, err error) {
	if o.flatten || o.strategy != "auto" {
		return nil, usagef("--flatten and --strategy are for registries; a layout holds any index")
	}
	if digest.Digest(place.reference).Validate() == nil {
		return nil, usagef("%s: a copy has the digest of its source; name a tag, or none", place.path)
	}
	if place.reference != "" {
		if err := checkTag(place.path, place.reference); err != nil {
			return nil, err
		}
	}
	p := pullOptions{settings: o.settings, to: "oci-layout:" + place.path, quiet: o.quiet, format: o.format, concurrent: o.concurrent}
	if place.archive {
		p.to = "oci-archive:" + place.path
	}
	to, err := p.openTarget(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	if err := p.bring(ctx, to, from.w, from.root, from.name(place.reference), metrics, stderr); err != nil {
		return nil, err
	}
	result := &copied{Ref: to.name(), Digest: from.root.Digest, Members: []string{}, Bytes: metrics.Bytes.Load()}
	for _, n := range from.w.memberNodes(from.root) {
		result.Members = append(result.Members, n.repository.String()+"@"+n.Digest.String())
	}
	return result, nil
}

// name is the name of the root in a layout: the source's with another tag, if
// one is given.
func (s *copySource) name(tag string) string {
	repository, _ := splitRef(s.ref)
	if tag == "" {
		tag = s.tag
	}
	if _, ok := parseLayout(s.ref); ok {
		repository = layoutRepository
	}
	if tag == "" {
		return repository + "@" + s.root.Digest.String()
	}
	return repository + ":" + tag
}

// plan prints what would be where.
func (o *copyOptions) plan(ctx context.Context, from *copySource, dst string, out io.Writer) error {
	place := func(n *node) (string, error) { return dst, nil }
	if _, isLayout := parseLayout(dst); !isLayout {
		parent, _, err := parseDestination(dst, from.tag)
		if err != nil {
			return err
		}
		m := &mover{parent: parent, single: o.flatten}
		place = func(n *node) (string, error) {
			to, err := m.target(n.namespace)
			return to.String(), err
		}
	}
	from.w.blobs = true
	from.w.fetch = func(ctx context.Context, n *node) error {
		if !isDocument(n.MediaType) {
			return nil
		}
		_, err := from.w.fetcher.Children(ctx, n.Descriptor)
		return err
	}
	if err := from.w.visitAll(ctx, from.root); err != nil {
		return err
	}
	var lines []string
	for _, n := range from.root.whole() {
		to, err := place(n)
		if err != nil {
			return err
		}
		if !n.missing {
			b := branch{MediaType: n.MediaType, ArtifactType: n.ArtifactType}
			lines = append(lines, fmt.Sprintf("%s %s %s %s", to, n.Digest, bytesOf(n.Size), b.kind()))
		}
	}
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		if _, err := fmt.Fprintln(out, printable(line)); err != nil {
			return err
		}
	}
	return nil
}
