package prune

import (
	"context"
	"slices"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// CleanUp deletes what an index leaves behind from which members were removed, when
// its tags are those of the new index, or lists that in a dry run, before the new
// index is published. line is as in [Plan.Follow], and so are errors.
func CleanUp(ctx context.Context, client *registry.Client, parent auth.Repository, e *bundle.Edit, tags []string, dryRun bool, line func(string) error) error {
	plan, err := replaced(ctx, client, parent, e, tags, !dryRun)
	if err != nil {
		return err
	}
	return plan.Follow(ctx, dryRun, line)
}

// replaced plans what goes when members were removed from an index and tags of its
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

// edited is the tree of an index that is not published yet.
func (r *reader) edited(ctx context.Context, old stored, e *bundle.Edit) (*tree, error) {
	_, desc, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	t, err := r.read(ctx, old, bundle.Options{Sparse: true, Carrier: true}, func(root *bundle.Node) {
		root.Descriptor, root.Carrier = desc, nil
		root.Children = slices.DeleteFunc(root.Children, func(n *bundle.Node) bool { return !e.Keeps(n.Child, n.Digest) })
	})
	if err == nil {
		t.root.digest = desc.Digest
	}
	return t, err
}
