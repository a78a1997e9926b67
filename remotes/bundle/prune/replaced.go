package prune

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Replace says to the edit of a new index that it takes the place of the nested
// index that a tag names, if it names one, so that [CleanUp] deletes that.
func Replace(ctx context.Context, client *registry.Client, ref auth.Reference, e *bundle.Edit) error {
	b, err := bundle.Open(ctx, nested.New(client, nested.Options{Complete: true}), ref)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case nested.Unfollowed(ref.Repository(), b.Root) != nil:
		return nil
	}
	members, err := b.Fetcher.Members(ctx, b.Root)
	if len(members) > 0 {
		e.Replaces(b.PinnedRoot().Digest)
	}
	return err
}

// CleanUp deletes what an index leaves behind that was edited or replaced, when its
// tags are those of the new index, or lists that in a dry run, before the new index
// is published; all new members have to be there already. line is as in
// [Plan.Follow], and so are errors.
func CleanUp(ctx context.Context, client *registry.Client, parent auth.Repository, e *bundle.Edit, tags []string, dryRun bool, line func(string) error) error {
	if e.Was() == "" {
		return nil
	}
	plan, err := replaced(ctx, client, parent, e, tags, !dryRun)
	if err != nil {
		return err
	}
	return plan.Follow(ctx, dryRun, line)
}

// replaced plans what goes when an index was edited or replaced, and tags of its
// repository have moved to the new one: the old index, the tags that protect its
// members, and what nothing else names. When the old index has another tag, all of
// it stays. Before the new one is published, the plan is for a list only.
func replaced(ctx context.Context, client *registry.Client, parent auth.Repository, e *bundle.Edit, tags []string, published bool) (*Plan, error) {
	r := newReader(client, parent, time.Time{})
	trees, err := r.tagged(ctx, parent)
	if err != nil {
		return nil, err
	}
	old := stored{parent, e.Was()}
	if !published {
		var next *tree
		if next, err = r.edited(ctx, old, e); err != nil {
			return nil, err
		}
		for _, tag := range tags {
			trees[tag] = next
		}
	}
	plan := newPlan(r)
	for tag, t := range trees {
		if t.root == old && isRelease(tag) {
			return plan, nil
		}
	}
	t, err := r.tree(ctx, old)
	if err != nil {
		return nil, err
	}
	return plan, plan.remove(ctx, newSettling(r, trees, []*tree{t}))
}

// edited is the tree of an index that is not published yet: what stays of the old
// one, with the new members. An index that is the old one has its tree.
func (r *reader) edited(ctx context.Context, old stored, e *bundle.Edit) (*tree, error) {
	_, desc, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	same := false
	t, err := r.read(ctx, old, bundle.Options{Sparse: true, Carrier: true}, func(root *bundle.Node) {
		same = root.Digest == desc.Digest
		root.Descriptor, root.Carrier = desc, nil
		root.Children = slices.DeleteFunc(root.Children, func(n *bundle.Node) bool { return !e.Keeps(n.Child, n.Digest) })
	})
	if err != nil || same {
		return t, err
	}
	t.root.digest = desc.Digest
	return t, r.addMembers(ctx, t, e)
}

// addMembers adds the members of an index to its tree that are not in it.
func (r *reader) addMembers(ctx context.Context, t *tree, e *bundle.Edit) error {
	for _, member := range e.Members() {
		ref, err := auth.ParseReference(member)
		if err != nil {
			return err
		}
		at := stored{ref.Repository(), ref.Digest()}
		if t.names[at] != nil {
			continue
		}
		below, err := r.tree(ctx, at)
		if err != nil {
			return err
		}
		for _, c := range below.order {
			named := *below.names[c]
			t.add(c, &named)
		}
	}
	return nil
}
