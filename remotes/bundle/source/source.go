// Package source opens a bundle wherever it is: in a registry, or in an OCI
// layout or archive. What stands on it need not know which.
//
//   - source.go: [Open] opens one as a [Source];
//   - all.go: [OpenAll] opens several, and all that a layout holds; [OpenSince]
//     opens what an earlier copy has brought;
//   - destination.go: [Destination] is where they are copied to, as its Plan says
//     (plan.go).
package source

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Source is an open bundle, and where it is. It is safe for concurrent use until
// Close.
type Source struct {
	Bundle     *bundle.Bundle
	Tag        string           // by which it was found; empty for none
	Registries *registry.Client // of its registry; nil for a layout
	label      string           // shown in place of its repository when the layout does not say where its content is from
	close      func() error
}

// Dial returns a client for a repository's registry, and what releases it.
type Dial func(auth.Repository) (client *registry.Client, closeAll func() error, err error)

// Open opens what a user names: a reference as docker reads it, a lock,
// oci-layout:DIR[:TAG] or oci-archive:FILE[:TAG]. A name that is none of them is
// a usage.Error.
func Open(ctx context.Context, name string, dial Dial) (*Source, error) {
	if place, ok := layout.ParsePlace(name); ok {
		return openLayout(ctx, place, name)
	}
	ref, err := lock.ReadRef(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &Source{Tag: ref.Tag()}
	if s.Registries, s.close, err = dial(ref.Repository()); err != nil {
		return nil, err
	}
	if s.Bundle, err = ref.Open(ctx, nested.New(s.Registries, nested.Options{})); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openLayout notes whether the layout knows where its content is from; see
// Shown.
func openLayout(ctx context.Context, place layout.Place, name string) (*Source, error) {
	opened, err := layout.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	s, err := inLayout(ctx, opened, name)
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	s.close = opened.Close
	return s, nil
}

func inLayout(ctx context.Context, opened *layout.Source, name string) (*Source, error) {
	s := &Source{Tag: opened.Tag(), close: func() error { return nil }}
	if opened.Repository().String() == layout.Nowhere {
		s.label = name
	}
	var err error
	s.Bundle, err = opened.Bundle(ctx)
	return s, err
}

// Close releases the source.
func (s *Source) Close() error { return s.close() }

// Name is how a layout would name the bundle: as the source does, with another
// tag if one is given.
func (s *Source) Name(tag string) string {
	repository := s.Bundle.Repository.String()
	if tag = cmp.Or(tag, s.Tag); tag == "" {
		return repository + "@" + s.Bundle.Root.Digest.String()
	}
	return repository + ":" + tag
}

// Shown replaces, in a text, the placeholder for the repository of a layout that
// does not say where its content is from. Users should see the layout as they
// named it.
func (s *Source) Shown(text string) string {
	if s.label == "" {
		return text
	}
	return strings.ReplaceAll(text, layout.Nowhere, s.label)
}

// Explain is an error about the source, in a text that users know; see Shown.
func (s *Source) Explain(err error) error {
	if err == nil || s.label == "" {
		return err
	}
	return explained{err, s}
}

type explained struct {
	error
	from *Source
}

func (e explained) Error() string { return e.from.Shown(e.error.Error()) }

func (e explained) Unwrap() error { return e.error }

// Writer is a writer of lines about the source; see Shown. It is w itself where
// there is nothing to replace.
func (s *Source) Writer(w io.Writer) io.Writer {
	if s.label == "" {
		return w
	}
	return writer{w, s}
}

type writer struct {
	io.Writer
	from *Source
}

func (w writer) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.Writer, w.from.Shown(string(p)))
	return len(p), err
}
