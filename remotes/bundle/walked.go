package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/bundle/delta"
)

// Walked is the result of a walk.
type Walked struct {
	Root      *Node
	Selection // of the walk
	// Unselected are up to fifty entries of indexes that were not selected, as
	// "namespace platform", for errors.
	Unselected []string
	// Skipped are the repositories of all such entries, by name.
	Skipped map[string]bool
	// NonDistributable are the layers that were left out, as repository@digest,
	// each once and in order.
	NonDistributable []string
	// Omitted is what a pull left out because of PullOptions.Since, by digest.
	Omitted []delta.Omitted
}

// MemberNodes are the selected members, by namespace.
func (w *Walked) MemberNodes() []*Node {
	members := slices.DeleteFunc(w.Root.All(), func(n *Node) bool {
		return !n.IsMember() || !w.MatchesMember(n.Namespace) || !n.hasContent()
	})
	slices.SortStableFunc(members, func(a, b *Node) int { return strings.Compare(a.Namespace, b.Namespace) })
	return members
}

// Missing are the entries that were left out because their content is missing.
func (w *Walked) Missing() []*Node {
	return slices.DeleteFunc(w.Root.All(), func(n *Node) bool { return !n.Missing })
}

// found collects what a walk leaves out.
type found struct {
	mu               sync.Mutex
	unselected       []string
	skipped          map[string]bool
	nonDistributable map[string]bool
	origins          map[*Node][]Origin
}

func newFound() *found {
	return &found{skipped: map[string]bool{}, nonDistributable: map[string]bool{}, origins: map[*Node][]Origin{}}
}

// skip records an entry that is not selected.
func (f *found) skip(n *Node) {
	const shown = 50
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skipped[n.Repository.String()] = true
	if len(f.unselected) < shown {
		f.unselected = append(f.unselected, strings.TrimSpace(n.Namespace+" "+PlatformOf(n.Platform)))
	}
}

// omit records content that is left out, once.
func (f *found) omit(n *Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonDistributable[n.Repository.String()+"@"+n.Digest.String()] = true
}

func (f *found) walked(root *Node, s Selection) *Walked {
	slices.Sort(f.unselected)
	for n, origins := range f.origins {
		n.Origins = origins
	}
	return &Walked{
		Root:             root,
		Selection:        s,
		Unselected:       f.unselected,
		Skipped:          f.skipped,
		NonDistributable: slices.Sorted(maps.Keys(f.nonDistributable)),
	}
}

// nothing is the error when nothing below the root is selected.
func (w *Walked) nothing() error {
	selected := func(member string) bool {
		return slices.ContainsFunc(w.Root.All(), func(n *Node) bool {
			inside := n.Namespace == member || strings.HasPrefix(n.Namespace, member+"/") || member == ""
			return inside && !images.IsIndexType(n.MediaType)
		})
	}
	wanted := w.Members
	if len(wanted) == 0 {
		wanted = []string{""}
	}
	missing := slices.DeleteFunc(slices.Clone(wanted), selected)
	if len(missing) == 0 || len(w.Unselected) == 0 && len(w.Members) == 0 {
		return nil
	}
	rest := "it has no members"
	if len(w.Unselected) > 0 {
		rest = "there is also: " + strings.Join(slices.Compact(slices.Clone(w.Unselected)), ", ")
	}
	matches := strings.TrimSuffix("matches "+strings.Join(missing, ", "), " ")
	err := MissingError(fmt.Sprintf("nothing in %s@%s %s; %s", w.Root.Repository, w.Root.Digest, matches, rest))
	if len(w.Unselected) == 0 {
		return err
	}
	return &AvoidableError{Err: err, By: BySelection}
}

// MissingError says that nothing is selected. Its class is errdefs.ErrNotFound.
type MissingError string

func (e MissingError) Error() string { return string(e) }

func (e MissingError) Unwrap() error { return errdefs.ErrNotFound }
