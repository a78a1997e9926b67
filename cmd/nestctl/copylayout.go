package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// toLayout brings everything into a layout, as pull does.
func (o *copyOptions) toLayout(ctx context.Context, from *copySource, place layoutPlace, metrics *registry.Metrics, stderr io.Writer) (_ *copied, err error) {
	p := pullOptions{settings: o.settings, to: "oci-layout:" + place.path, quiet: o.quiet, format: o.format, concurrent: o.concurrent}
	if place.archive {
		p.to = "oci-archive:" + place.path
	}
	to, err := p.openTarget(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if from.label != "" && !isTerminal(stderr) {
		stderr = renaming{stderr, from}
	}
	owner := &mover{source: from.from, fromParents: o.parents}
	from.w.Home = func(n *bundle.Node) (auth.Repository, error) { return owner.home(from.w, n) }
	if err := p.bring(ctx, to, from.w, from.root, from.name(place.reference), metrics, stderr); err != nil {
		return nil, err
	}
	result := &copied{Ref: to.Name(), Digest: from.root.Digest, Members: []string{}, Bytes: metrics.Bytes.Load()}
	for _, n := range from.w.MemberNodes(from.root) {
		result.Members = append(result.Members, from.shown(n.Repository.String()+"@"+n.Digest.String()))
	}
	return result, nil
}

// shown is a text that names repositories of the source. Those of a layout that
// does not say where its content is from are the layout.
func (s *copySource) shown(text string) string {
	if s.label == "" {
		return text
	}
	return strings.ReplaceAll(text, layoutRepository, s.label)
}

func (s *copySource) renamed(err error) error {
	if err == nil || s.label == "" {
		return err
	}
	return renamedError{err, s}
}

// renamedError is an error about the source.
type renamedError struct {
	error
	from *copySource
}

func (e renamedError) Error() string { return e.from.shown(e.error.Error()) }

func (e renamedError) Unwrap() error { return e.error }

// renaming is a writer of lines about the source.
type renaming struct {
	io.Writer
	from *copySource
}

func (w renaming) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.Writer, w.from.shown(string(p)))
	return len(p), err
}

// name is the name of the root in a layout: the source's with another tag, if
// one is given.
func (s *copySource) name(tag string) string {
	repository, _ := bundle.SplitRef(s.ref)
	if tag == "" {
		tag = s.tag
	}
	if tag == "" {
		return repository + "@" + s.root.Digest.String()
	}
	return repository + ":" + tag
}

// planned is content and where it would be.
type planned struct {
	Repository   string        `json:"repository"` // or the layout
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Size         int64         `json:"size"`
}

// plan prints what would be where.
func (o *copyOptions) plan(ctx context.Context, from *copySource, dst string, out io.Writer) error {
	place := func(n *bundle.Node) (string, error) { return dst, nil }
	if _, isLayout := parseLayout(dst); !isLayout {
		parent, _, err := parseDestination(dst, from.tag)
		if err != nil {
			return err
		}
		m := &mover{parent: parent, single: o.flatten, source: from.from, fromParents: o.parents}
		from.w.Home = func(n *bundle.Node) (auth.Repository, error) { return m.home(from.w, n) }
		place = func(n *bundle.Node) (string, error) {
			to, err := m.to(from.w, n)
			return to.String(), err
		}
	}
	from.w.Blobs = true
	from.w.Fetch = func(ctx context.Context, n *bundle.Node) error {
		if !oci.IsManifestOrIndex(n.MediaType) {
			return nil
		}
		_, err := from.w.Source.Children(ctx, n.Descriptor)
		return err
	}
	if err := from.w.VisitAll(ctx, from.root); err != nil {
		return err
	}
	plan := []planned{}
	for _, n := range from.root.Whole() {
		to, err := place(n)
		if err != nil {
			return err
		}
		if !n.Missing {
			plan = append(plan, planned{to, n.Digest, n.MediaType, n.ArtifactType, n.Size})
		}
	}
	slices.SortFunc(plan, func(a, b planned) int {
		return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(a.Digest.String(), b.Digest.String()))
	})
	same := func(a, b planned) bool { return a.Repository == b.Repository && a.Digest == b.Digest }
	plan = slices.CompactFunc(plan, same)
	if o.format == "json" {
		return sanitize.WriteJSON(out, plan)
	}
	for _, p := range plan {
		line := fmt.Sprintf("%s %s %s %s", p.Repository, p.Digest, amount.Bytes(p.Size), oci.Kind(p.MediaType, p.ArtifactType))
		if _, err := fmt.Fprintln(out, sanitize.Text(line)); err != nil {
			return err
		}
	}
	return nil
}
