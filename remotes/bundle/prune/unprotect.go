package prune

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Unprotect deletes the tags that protect an index's members from the
// registry's clean-up, for an index that is retired, whatever tags it has itself.
// A tag stays where another index that has a tag names what it keeps, in the
// index's repository or one between, and has no such tag of its own there. line is
// called for each tag with what became of it, unescaped. A dry run deletes nothing.
// Errors: those of requests and of [bundle.Bundle.Walk]. Nothing is deleted before
// everything could be read.
func Unprotect(ctx context.Context, client *registry.Client, ref auth.Reference, dryRun bool, line func(string) error) error {
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{Complete: true}), ref)
	if err != nil {
		return err
	}
	r := newReader(client, b.Repository, time.Time{})
	r.untagged = true
	trees, err := r.tagged(ctx, b.Repository)
	if err != nil {
		return err
	}
	index := stored{b.Repository, b.Root.Digest}
	t, err := r.tree(ctx, index)
	if err != nil {
		return err
	}
	s := newSettling(r, trees, nil)
	s.mayGo(t)
	if err := s.collect(ctx); err != nil {
		return err
	}
	u := unprotecting{s, index, map[goneTag]bool{}}
	return u.do(ctx, dryRun, line)
}

// unprotecting finds the tags that protect members of one index.
type unprotecting struct {
	*settling
	index stored
	going map[goneTag]bool
}

func (u *unprotecting) do(ctx context.Context, dryRun bool, line func(string) error) error {
	all := u.tags()
	kept := u.keep(all)
	for _, t := range all {
		d := Deletion{Repository: t.at.String(), Tag: t.tag, State: Planned}
		says := "kept " + d.String() + ": " + kept[t] + " names it"
		if u.going[t] {
			if !dryRun {
				err := deleteTag(ctx, u.client, t, u.tagged[t.at][t.tag].root.digest)
				if errdefs.IsNotFound(err) {
					continue
				}
				if err != nil {
					return err
				}
				d.State = Deleted
			}
			says = d.Line()
		}
		if err := line(says); err != nil {
			return err
		}
	}
	return nil
}

// tags are those of the index, sorted. At first all of them go.
func (u *unprotecting) tags() (all []goneTag) {
	for at, trees := range u.tagged {
		for tag := range trees {
			if protects(tag, u.index) {
				all = append(all, goneTag{at, tag})
				u.going[goneTag{at, tag}] = true
			}
		}
	}
	slices.SortFunc(all, func(a, b goneTag) int {
		return cmp.Or(cmp.Compare(a.at.String(), b.at.String()), cmp.Compare(a.tag, b.tag))
	})
	return all
}

// keep takes the tags out that something else needs, and returns what that is. A tag
// that stays may need others.
func (u *unprotecting) keep(all []goneTag) map[goneTag]string {
	kept := map[goneTag]string{}
	for before := -1; before != len(kept); {
		before = len(kept)
		for _, t := range all {
			if by := u.neededBy(t); u.going[t] && by != "" {
				kept[t] = by
				delete(u.going, t)
			}
		}
	}
	return kept
}

// neededBy is the first tag that stays and needs another one; "" for none.
func (u *unprotecting) neededBy(t goneTag) string {
	var needing []string
	for _, at := range append([]auth.Repository{t.at}, t.at.Above(u.parent)...) {
		for tag, other := range u.tagged[at] {
			retired := isRelease(tag) && other.root.at == u.index.at && other.bundle.Root.Digest == u.index.digest
			if !retired && !u.going[goneTag{at, tag}] && u.needs(goneTag{at, tag}, t) {
				needing = append(needing, at.String()+":"+tag)
			}
		}
	}
	if len(needing) == 0 {
		return ""
	}
	return slices.Min(needing)
}

// needs reports whether what one tag names would lose the tag that keeps it.
func (u *unprotecting) needs(user, t goneTag) bool {
	names := u.tagged[user.at][user.tag].names
	for c := range u.tagged[t.at][t.tag].names {
		if names[c] != nil && u.keeps(t, c) && !u.hasOther(user, t.at, c) {
			return true
		}
	}
	return false
}

// hasOther reports whether a registry keeps content for a tag without those that
// go: because of the tag itself, or of one that protects it for an index below the
// tag. Others move when their owners want it.
func (u *unprotecting) hasOther(user goneTag, at auth.Repository, c stored) bool {
	for tag := range u.tagged[at] {
		other := goneTag{at, tag}
		if u.going[other] || !u.keeps(other, c) {
			continue
		}
		if other == user {
			return true
		}
		for index, e := range u.tagged[user.at][user.tag].names {
			if e.isIndex && protects(tag, index) {
				return true
			}
		}
	}
	return false
}

// keeps reports whether a registry keeps content because of a tag. It looks at each
// repository by itself, and sees nothing but a blob in a carrier.
func (u *unprotecting) keeps(t goneTag, c stored) bool {
	tree := u.tagged[t.at][t.tag]
	carried := tree.root.digest != tree.bundle.Root.Digest
	return c.at == t.at && tree.names[c] != nil && (!carried || c == tree.root || c.digest == tree.bundle.Root.Digest)
}

// deleteTag deletes a tag. The class of the error is errdefs.ErrNotFound when it is
// not there, and the error is one when the registry deleted more than the tag.
func deleteTag(ctx context.Context, client *registry.Client, t goneTag, named digest.Digest) error {
	if err := client.Delete(ctx, t.at, "manifests/"+t.tag); err != nil {
		return fmt.Errorf("tag %s: %w", t.tag, explained(err))
	}
	return stillThere(ctx, client, t.at, t.tag, named)
}
