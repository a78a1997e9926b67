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
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/source"
	"github.com/nestedoci/nested/remotes/registry"
)

// toLayout copies everything into a layout. It is a pull with other options, so
// that both resume and verify alike.
func (o *copyOptions) toLayout(ctx context.Context, all []*source.Source, place layout.Place, metrics *registry.Metrics, stderr io.Writer) (results copies, err error) {
	since, closeAll, err := source.OpenSince(ctx, o.since)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	to, err := layout.CreateAt(place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if !progress.IsTerminal(stderr) {
		stderr = source.Writer(all, stderr)
	}
	show := progress.New(stderr, o.quiet, o.format == "json", metrics)
	defer show.Stop()
	pulls := make([]bundle.Pulling, len(all))
	for i, from := range all {
		options := bundle.PullOptions{Options: o.walk(), From: from.Registries, FromParents: o.parents, Since: since, Progress: show}
		pulls[i] = bundle.Pulling{Bundle: from.Bundle, Name: from.Name(place.Reference), PullOptions: options}
	}
	pulled, err := bundle.PullAll(ctx, to, pulls)
	for i, walked := range pulled {
		result := &copied{Ref: to.Name(), Digest: walked.Root.Digest, Members: []string{}, Bytes: metrics.Bytes.Load(), Omitted: len(walked.Omitted), walked: walked}
		for _, n := range walked.MemberNodes() {
			result.Members = append(result.Members, all[i].Shown(n.Repository.String()+"@"+n.Digest.String()))
		}
		results = append(results, result)
	}
	return results, err
}

// planned is content and its destination, as --dry-run prints it.
type planned struct {
	Repository   string        `json:"repository"` // or the layout
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Size         int64         `json:"size"`
}

// contents returns what would be copied where, as the pull or the copy would.
func (o *copyOptions) contents(ctx context.Context, all []*source.Source, to destination) (plan []planned, err error) {
	var copying []bundle.Copying
	if !to.isLayout {
		if copying, err = o.copying(all, to, nil); err != nil {
			return nil, err
		}
	}
	plan = []planned{}
	for i, from := range all {
		var contents []bundle.Planned
		if to.isLayout {
			contents, err = bundle.PlanPull(ctx, from.Bundle, o.walk())
		} else {
			contents, err = bundle.Plan(ctx, from.Bundle, copying[i].Parent, copying[i].CopyOptions)
		}
		if err != nil {
			return nil, err
		}
		for _, c := range contents {
			place := to.name
			if !to.isLayout {
				place = c.Repository.String()
			}
			plan = append(plan, planned{place, c.Digest, c.MediaType, c.ArtifactType, c.Size})
		}
	}
	return plan, nil
}

// plan prints what would be copied, sorted so that two runs can be compared.
func (o *copyOptions) plan(ctx context.Context, all []*source.Source, to destination, out io.Writer) error {
	plan, err := o.contents(ctx, all, to)
	if err != nil {
		return err
	}
	slices.SortFunc(plan, func(a, b planned) int {
		return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(a.Digest.String(), b.Digest.String()))
	})
	same := func(a, b planned) bool { return a.Repository == b.Repository && a.Digest == b.Digest }
	plan = slices.CompactFunc(plan, same)
	return show(out, o.format, plans(plan))
}

type plans []planned

func (all plans) lines() (lines []string) {
	for _, p := range all {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", p.Repository, p.Digest, amount.Bytes(p.Size), oci.Kind(p.MediaType, p.ArtifactType)))
	}
	return lines
}
