package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// indexEdit is an index on its way to its repository.
type indexEdit struct {
	*settings
	registries *registry.Client
	repository auth.Repository
	document   *indexDocument
	entries    []nested.Entry // of the document, as far as it was there before
	members    []indexSource  // all of them
	fetcher    bundle.Source  // of the index that was there before
}

// addAll adds sources to an index.
func (o *indexOptions) addAll(ctx context.Context, e *indexEdit, sources []string) error {
	annotations, err := pairs("annotation", o.annotations)
	if err != nil {
		return err
	}
	ofMembers, err := pairs("member-annotation", o.memberAnnotations)
	if err != nil {
		return err
	}
	if value, ok := ofMembers[nested.Annotation]; ok {
		return usage.Errorf("--member-annotation %s=%s: the child namespace is where the SOURCE is", nested.Annotation, value)
	}
	members, err := readSources(ctx, e.registries, e.repository, sources)
	if err != nil {
		return err
	}
	for _, m := range members {
		if o.replace {
			e.remove(func(n nested.Entry) bool { return n.Child == m.child })
		}
	}
	for _, m := range members {
		if err := e.document.add(m, ofMembers, o.property); err != nil {
			return err
		}
	}
	e.members = append(e.members, members...)
	e.document.annotate(annotations, o.artifactType)
	return nil
}

// read begins with the index that is there.
func (e *indexEdit) read(ctx context.Context, ref string) error {
	ref, err := parseRef(ref)
	if err != nil {
		return err
	}
	w, root, err := bundle.Open(ctx, nested.New(e.registries, nested.Options{Complete: true}), ref, bundle.Selection{}, 8)
	if err != nil {
		return err
	}
	if !images.IsIndexType(root.MediaType) {
		return fmt.Errorf("%s is no index but %s; make one with nestctl index create", ref, root.MediaType)
	}
	data, err := bundle.FetchAll(ctx, w.Source, root.Descriptor)
	if err != nil {
		return err
	}
	if e.entries, err = w.Source.Children(ctx, root.Descriptor); err != nil {
		return err
	}
	if e.document, err = readIndexDocument(data); err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	if len(e.entries) != len(e.document.Manifests) {
		return fmt.Errorf("%s: not all entries of the index can be read", ref)
	}
	for _, entry := range e.entries {
		if entry.Child == (nested.Child{}) {
			continue
		}
		m := indexSource{child: entry.Child, desc: entry.Descriptor}
		if m.repository, err = entry.Child.In(e.repository); err != nil {
			return err
		}
		e.members = append(e.members, m)
	}
	e.fetcher = w.Source
	return nil
}

// manifests fetches those of members that were there before and have stayed,
// to be tagged. One that is gone can be removed.
func (e *indexEdit) manifests(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range e.members {
		m := &e.members[i]
		if m.manifest != nil {
			continue
		}
		group.Go(func() (err error) {
			m.manifest, err = bundle.FetchAll(ctx, e.fetcher, m.desc)
			switch {
			case errdefs.IsNotFound(err):
				return fmt.Errorf("%s@%s: %w; take it out with nestctl index remove", m.repository, m.desc.Digest, err)
			case err != nil:
				return fmt.Errorf("%s@%s: %w", m.repository, m.desc.Digest, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// remove removes entries that were there before, and tells whether there were
// any.
func (e *indexEdit) remove(which func(nested.Entry) bool) bool {
	var kept []nested.Entry
	removed := map[digest.Digest]bool{}
	manifests := e.document.Manifests[:0:0]
	for i, entry := range e.entries {
		if which(entry) {
			removed[entry.Digest] = true
			continue
		}
		kept, manifests = append(kept, entry), append(manifests, e.document.Manifests[i])
	}
	e.document.Manifests = append(manifests, e.document.Manifests[len(e.entries):]...)
	e.entries = kept
	e.members = slices.DeleteFunc(e.members, func(m indexSource) bool {
		return removed[m.desc.Digest] && which(nested.Entry{Descriptor: m.desc, Child: m.child})
	})
	return len(removed) > 0
}

// anchor brings what the members hold into the index's repository.
func (e *indexEdit) anchor(ctx context.Context) error {
	const concurrent = 8
	m := newMover(e.registries, e.repository, concurrent, newProgress(io.Discard, true, new(registry.Metrics)))
	m.source, m.single, m.strategy = e.registries, true, "anchor"
	for _, member := range e.members {
		ref := member.repository.String() + "@" + member.desc.Digest.String()
		w, root, err := bundle.Open(ctx, nested.New(e.registries, nested.Options{Complete: true}), ref, bundle.Selection{}, concurrent)
		if err != nil {
			return err
		}
		if err := m.moveAll(ctx, w, root); err != nil {
			return err
		}
	}
	return nil
}
