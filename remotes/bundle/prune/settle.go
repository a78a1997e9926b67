package prune

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// settling finds out what goes with the releases that are removed. At first
// everything that they name is to go, with the tags that belong to it. Then what is
// named from elsewhere is taken out, and with it the tags that belong to it, until
// nothing changes.
type settling struct {
	*reader
	removed []*tree

	tagged map[auth.Repository]map[string]*tree // of the repositories concerned
	names  map[stored]*entry                    // what may go
	order  []stored                             // of names
	gone   map[stored]bool
}

func newSettling(r *reader, parent map[string]*tree, removed []*tree) *settling {
	return &settling{
		reader:  r,
		removed: removed,
		tagged:  map[auth.Repository]map[string]*tree{r.parent: parent},
		names:   map[stored]*entry{},
		gone:    map[stored]bool{},
	}
}

// goneTag is a tag that goes.
type goneTag struct {
	at  auth.Repository
	tag string
}

// settle finds out what goes.
func (s *settling) settle(ctx context.Context) error {
	for _, t := range s.removed {
		full, err := s.withReferrers(ctx, t.root)
		if err != nil {
			return err
		}
		s.mayGo(full)
	}
	if err := s.collect(ctx); err != nil {
		return err
	}
	for {
		kept := s.kept()
		before := len(s.gone)
		maps.DeleteFunc(s.gone, func(c stored, _ bool) bool { return kept[c] })
		if len(s.gone) == before {
			return nil
		}
	}
}

// mayGo adds the content of a tree to what may go.
func (s *settling) mayGo(t *tree) {
	for _, c := range t.order {
		if known := s.names[c]; known != nil {
			known.below = append(known.below, t.names[c].below...)
			continue
		}
		e := *t.names[c]
		s.names[c], s.gone[c] = &e, true
		s.order = append(s.order, c)
	}
}

// collect reads the tags of all repositories that may have something to do with
// what may go, and adds what the tags name that belong to it.
func (s *settling) collect(ctx context.Context) error {
	for before := -1; before != len(s.order); {
		before = len(s.order)
		for _, c := range slices.Clone(s.order) {
			for _, at := range append([]auth.Repository{c.at}, c.at.Above(s.parent)...) {
				if s.tagged[at] != nil {
					continue
				}
				var err error
				if s.tagged[at], err = s.reader.tagged(ctx, at); err != nil {
					return err
				}
			}
		}
		for t := range s.goneTags() {
			s.mayGo(s.tagged[t.at][t.tag])
		}
	}
	return nil
}

// goneTags are the tags that go: those of the releases that are removed, and those
// that belong to content that goes.
func (s *settling) goneTags() map[goneTag]bool {
	tags, p := map[goneTag]bool{}, s.protections()
	for at, trees := range s.tagged {
		for tag, t := range trees {
			if s.goesTag(at, tag, t, p) {
				tags[goneTag{at, tag}] = true
			}
		}
	}
	return tags
}

func (s *settling) goesTag(at auth.Repository, tag string, t *tree, p protections) bool {
	if isRelease(tag) {
		return at == s.parent && slices.ContainsFunc(s.removed, func(r *tree) bool { return r.root == t.root })
	}
	if subject, refers := oci.SubjectOfTag(tag); refers && subject != t.root.digest { // or somebody keeps content by its own digest
		return s.gone[stored{at, subject}]
	}
	first := nested.Protecting(tag)
	if first == "" || p.stay[first] {
		return false
	}
	owns := false // of the indexes with that short digest all have to go
	for _, c := range p.mayGo[first] {
		if c.at == at || slices.Contains(at.Above(s.parent), c.at) {
			if owns = s.gone[c]; !owns {
				return false
			}
		}
	}
	return owns
}

// kept is what is named by tags that stay, and what refers to such.
func (s *settling) kept() map[stored]bool {
	kept, tags := map[stored]bool{}, s.goneTags()
	for at, trees := range s.tagged {
		for tag, t := range trees {
			if tags[goneTag{at, tag}] {
				continue
			}
			for c := range t.names {
				kept[c] = true
				for _, above := range c.at.Above(t.root.at) { // whatever carries the index: it may be found there, too
					kept[stored{above, c.digest}] = true
				}
			}
		}
	}
	var keep func(c stored)
	keep = func(c stored) {
		if !kept[c] {
			kept[c] = true
			for _, b := range s.names[c].below {
				if s.names[b] != nil {
					keep(b)
				}
			}
		}
	}
	for before := -1; before != len(kept); {
		before = len(kept)
		for _, c := range s.order {
			if subject := s.names[c].subject; subject != "" && kept[stored{c.at, subject}] {
				keep(c)
			}
		}
	}
	return kept
}

// deletions are what is deleted, in its order: at a kill between two of them
// nothing that is there names what is not. First go the indexes of the parent, then
// tags, then everything else, each before what it names.
func (s *settling) deletions(ctx context.Context) ([]Deletion, error) {
	var first, tags, rest []Deletion
	roots := map[stored]bool{}
	for _, t := range s.removed {
		roots[t.root] = true
	}
	for _, c := range s.sorted() {
		if !s.gone[c] {
			continue
		}
		kind, err := s.kindOf(ctx, c)
		if err != nil {
			return nil, err
		}
		d := Deletion{Repository: c.at.String(), Digest: c.digest, Kind: kind, State: Planned, at: c.at, goes: true}
		switch {
		case kind == "":
		case roots[c]:
			first = append(first, d)
		default:
			rest = append(rest, d)
		}
	}
	for t := range s.goneTags() {
		root := s.tagged[t.at][t.tag].root
		if roots[root] && s.gone[root] {
			continue // it goes with what it names
		}
		tags = append(tags, Deletion{Repository: t.at.String(), Tag: t.tag, Digest: root.digest, Kind: KindTag, State: Planned, at: t.at, goes: s.gone[root]})
	}
	slices.SortFunc(tags, func(a, b Deletion) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Concat(first, tags, rest), nil
}

// kindOf is as what content is there; "" when it is not.
func (s *settling) kindOf(ctx context.Context, c stored) (Kind, error) {
	e := s.names[c]
	if !e.isManifest {
		return "", nil
	}
	_, err := s.client.Digest(ctx, c.at, c.digest.String())
	switch {
	case err == nil && e.isIndex:
		return KindIndex, nil
	case err == nil:
		return KindManifest, nil
	case !errdefs.IsNotFound(err):
		return "", err
	case !e.isIndex:
		return "", nil
	}
	if _, err = s.client.Head(ctx, c.at, "blobs/"+c.digest.String(), "*/*"); errdefs.IsNotFound(err) {
		return "", nil
	}
	return KindBlob, err
}

// sorted are the contents that may go, each before what it names, and what refers
// to something before that.
func (s *settling) sorted() []stored {
	done := map[stored]bool{}
	var reversed []stored
	var visit func(c stored)
	visit = func(c stored) {
		if done[c] || s.names[c] == nil {
			return
		}
		done[c] = true
		for _, b := range s.names[c].below {
			visit(b)
		}
		if subject := s.names[c].subject; subject != "" {
			visit(stored{c.at, subject})
		}
		reversed = append(reversed, c)
	}
	for _, c := range s.order {
		visit(c)
	}
	slices.Reverse(reversed)
	return reversed
}
