package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

// shown is how many differences an error names.
const shown = 10

// Difference is something about which a lock and a bundle do not agree.
type Difference struct {
	Namespace string        // of the member; "" for the root
	Digest    digest.Digest // as it is; as it is locked where it is no longer there
	Err       error         // an [InvalidError], which begins with the member's name
}

// Differences compares the lock with all of a bundle that it selects, or with
// the members that are there of another selection, which others may not be
// readable beside. A tag that has moved is a difference, together with the
// members that have changed with it. Errors are those of [New].
func (l *Lock) Differences(ctx context.Context, b *bundle.Bundle, s bundle.Selection) ([]Difference, error) {
	var all []Difference
	if err := l.moved(b); err != nil {
		all = append(all, Difference{Digest: b.Root.Digest, Err: err})
	}
	if s.Platform != nil || len(s.Members) > 0 {
		walked, err := b.Walk(ctx, bundle.Options{Selection: s}, bundle.Visitor{})
		if err != nil {
			return all, err
		}
		return append(all, l.differences(walked)...), nil
	}
	is, err := New(ctx, b, l.Tag, l.Selection)
	if err != nil {
		return all, err
	}
	all = append(all, l.compare(l.Members, is.Members)...)
	if len(all) > 0 { // other content follows from that
		return all, nil
	}
	differs := func(d digest.Digest, format string, args ...any) {
		all = append(all, Difference{Digest: d, Err: l.invalid(fmt.Errorf(format, args...))})
	}
	if a, b := l.Root.String(), is.Root.String(); a != b {
		differs(is.Root.Digest, "root: %s is locked, it is %s", a, b)
	}
	if l.Carrier != is.Carrier {
		differs(is.Root.Digest, "carrier: %s is locked, it is %s", cmp.Or(l.Carrier, "none"), cmp.Or(is.Carrier, "none"))
	}
	for _, d := range slices.Sorted(maps.Keys(l.Content)) {
		if size, ok := is.Content[d]; !ok || size != l.Content[d] {
			differs(d, "content: %s of %d bytes is locked, and not in the bundle", d, l.Content[d])
		}
	}
	for _, d := range slices.Sorted(maps.Keys(is.Content)) {
		if _, ok := l.Content[d]; !ok {
			differs(d, "content: %s of %d bytes is in the bundle, and not locked", d, is.Content[d])
		}
	}
	return all, nil
}

// compare compares members, both in order.
func (l *Lock) compare(locked, is []Member) (all []Difference) {
	old, now := byName(locked), byName(is)
	names := slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, m := range slices.Concat(locked, is) {
			if !yield(m.Namespace) {
				return
			}
		}
	}))
	for _, name := range names {
		gone, added := without(old[name], now[name]), without(now[name], old[name])
		if len(gone) == 1 && len(added) == 1 {
			all = append(all, l.differs(added[0], "%s is locked, it is %s", gone[0].said(added[0]), added[0].said(gone[0])))
			continue
		}
		for _, m := range gone {
			all = append(all, l.differs(m, "%s is locked, and not in the bundle", m.Digest))
		}
		for _, m := range added {
			all = append(all, l.differs(m, "%s is in the bundle, and not locked", m.Digest))
		}
	}
	return all
}

func (l *Lock) differs(m Member, format string, args ...any) Difference {
	err := fmt.Errorf("member "+m.Namespace+": "+format, args...)
	return Difference{m.Namespace, m.Digest, &usage.Avoidable{Err: l.invalid(err), By: ByNewLock}}
}

func byName(members []Member) map[string][]Member {
	named := map[string][]Member{}
	for _, m := range members {
		named[m.Namespace] = append(named[m.Namespace], m)
	}
	return named
}

// without are the members that are not among others.
func without(members, others []Member) []Member {
	among := map[string]bool{}
	for _, o := range others {
		among[fmt.Sprint(o)] = true
	}
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return among[fmt.Sprint(m)] })
}

// said is what tells a member from another: the digest, or else everything.
func (m Member) said(other Member) string {
	if m.Digest != other.Digest {
		return m.Digest.String()
	}
	return fmt.Sprintf("%s of %d bytes (%s)", m.Digest, m.Size, words([]string{m.MediaType, m.Platform}, m.Platforms, m.Origins))
}

// String is everything that a lock says of a root.
func (r Root) String() string {
	return fmt.Sprintf("%s of %d bytes (%s)", r.Digest, r.Size, words([]string{r.MediaType}, r.Platforms))
}

func words(all ...[]string) string {
	return strings.Join(slices.DeleteFunc(slices.Concat(all...), func(s string) bool { return s == "" }), " ")
}

// differences compares the lock with what a walk has found, as far as both go:
// they may have selected different members and platforms.
func (l *Lock) differences(w *bundle.Walked) []Difference {
	platform, _ := l.matcher() // which was checked
	both := func(namespace string) bool { return l.covers(namespace) && covers(w.Members, namespace) }
	found, own := members(w.Root.All(), both), members(below(w.Root, platform), both)
	is := slices.DeleteFunc(slices.Clone(found), func(m Member) bool { return !among(own, m) && !among(l.Members, m) })
	return l.compare(bare(l.within(w.Platform, both, found)), bare(is))
}

// verify is the error about differences that a walk has found.
func (l *Lock) verify(w *bundle.Walked) error {
	all := l.differences(w)
	if len(all) == 0 {
		return nil
	}
	texts := []string{}
	var bad *InvalidError
	for _, d := range all[:min(len(all), shown)] {
		errors.As(d.Err, &bad)
		texts = append(texts, bad.Err.Error())
	}
	if len(all) > shown {
		texts = append(texts, fmt.Sprintf("and %d more", len(all)-shown))
	}
	return &usage.Avoidable{Err: l.invalid(errors.New(strings.Join(texts, "; "))), By: ByNewLock}
}

// below are the nodes of a platform, without those that can only be reached
// through an index of another.
func below(root *bundle.Node, platform platforms.Matcher) []*bundle.Node {
	return root.Where(func(n *bundle.Node) bool {
		return platform == nil || n.Platform == nil || platform.Match(*n.Platform)
	})
}

// within are the members that a walk for a platform would find, or has found: an
// image may be listed for several platforms, of which the lock has one. One
// below an index of another platform is not found.
func (l *Lock) within(platform platforms.Matcher, selected func(string) bool, found []Member) []Member {
	open := map[string]bool{} // by namespace: whether something of the platform is there
	for _, m := range l.Members {
		open[m.Namespace] = open[m.Namespace] || m.matches(platform)
	}
	return slices.DeleteFunc(slices.Clone(l.Members), func(m Member) bool {
		if among(found, m) {
			return false
		}
		for i, c := range m.Namespace {
			if found, locked := open[m.Namespace[:i]]; c == '/' && locked && !found {
				return true
			}
		}
		return !selected(m.Namespace) || !m.matches(platform)
	})
}

// among reports whether members, in order, have that content by that name.
func among(members []Member, m Member) bool {
	_, ok := slices.BinarySearchFunc(members, m, inOrder)
	return ok
}

func (m Member) matches(platform platforms.Matcher) bool {
	if platform == nil || m.Platform == "" {
		return true
	}
	p, err := platforms.Parse(m.Platform)
	return err == nil && platform.Match(p)
}

// bare are members without what not every walk finds.
func bare(all []Member) []Member {
	for i := range all {
		all[i].Platform, all[i].Platforms, all[i].Origins = "", nil, nil
	}
	return all
}
