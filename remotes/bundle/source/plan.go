package source

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/nestedoci/nested/remotes/bundle"
)

// Plan says what a copy of the sources would bring where, and brings nothing:
// each content once for each repository, in their order and that of digests. In
// a layout there is one place for all, so that no repository is said.
func (d Destination) Plan(ctx context.Context, all []*Source, o bundle.CopyOptions) (planned []bundle.Planned, err error) {
	plan := d.planCopies
	if d.IsLayout {
		plan = d.planPulls
	}
	if planned, err = plan(ctx, all, o); err != nil {
		return nil, err
	}
	compare := func(a, b bundle.Planned) int {
		return cmp.Or(strings.Compare(a.Repository.String(), b.Repository.String()), strings.Compare(a.Digest.String(), b.Digest.String()))
	}
	slices.SortStableFunc(planned, compare)
	return slices.CompactFunc(planned, func(a, b bundle.Planned) bool { return compare(a, b) == 0 }), nil
}

func (d Destination) planCopies(ctx context.Context, all []*Source, o bundle.CopyOptions) (planned []bundle.Planned, err error) {
	copying, err := d.Copying(all, o)
	if err == nil {
		err = bundle.CheckRefs(copying)
	}
	for _, c := range copying {
		var one []bundle.Planned
		if err == nil {
			one, err = bundle.Plan(ctx, c.Bundle, c.Parent, c.CopyOptions)
		}
		planned = append(planned, one...)
	}
	return planned, err
}

func (d Destination) planPulls(ctx context.Context, all []*Source, o bundle.CopyOptions) (planned []bundle.Planned, err error) {
	pulling := d.Pulling(all, bundle.PullOptions{Options: o.Options})
	err = bundle.CheckNames(pulling)
	for _, p := range pulling {
		var one []bundle.Planned
		if err == nil {
			one, err = planPull(ctx, p.Bundle, p.Options)
		}
		planned = append(planned, one...)
	}
	return planned, err
}

// planPull says what a pull would bring. A target has one place for all, so that
// no repository is said.
func planPull(ctx context.Context, b *bundle.Bundle, o bundle.Options) (planned []bundle.Planned, err error) {
	o.Blobs = true
	walked, err := b.Walk(ctx, o, bundle.Visitor{})
	if err != nil {
		return nil, err
	}
	for _, n := range walked.Root.AllWithReferrers() {
		if !n.Missing {
			planned = append(planned, bundle.Planned{Descriptor: n.Descriptor})
		}
	}
	return planned, nil
}
