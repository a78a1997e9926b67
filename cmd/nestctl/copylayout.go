package main

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/source"
	"github.com/nestedoci/nested/remotes/registry"
)

// toLayout copies everything into a layout. It is a pull with other options, so
// that both resume and verify alike.
func (o *copyOptions) toLayout(ctx context.Context, all []*source.Source, to source.Destination, metrics *registry.Metrics, stderr io.Writer) (results copies, err error) {
	since, closeAll, err := source.OpenSince(ctx, o.since, to.Place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	target, err := layout.CreateAt(to.Place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if !terminal.Redraws(stderr) {
		stderr = source.Writer(all, stderr)
	}
	show := progress.New(stderr, o.quiet, o.format == "json")
	defer show.Stop()
	pulled, err := bundle.PullAll(ctx, target, to.Pulling(all, bundle.PullOptions{Options: o.walk(), FromParents: o.parents, Since: since, Progress: show}))
	for i, walked := range pulled {
		result := &copied{Ref: target.Name(), Digest: walked.Root.Digest, Members: []string{}, Bytes: metrics.Bytes.Load(), Omitted: len(walked.Omitted), walked: walked}
		if len(all) > 1 {
			result.together = " for all of them"
		}
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

// plan prints what would be copied where, sorted so that two runs can be
// compared.
func (o *copyOptions) plan(ctx context.Context, all []*source.Source, to source.Destination, out io.Writer) error {
	contents, err := to.Plan(ctx, all, o.bundle(nil))
	if err != nil {
		return err
	}
	plan := plans{}
	for _, c := range contents {
		at := to.Name
		if !to.IsLayout {
			at = c.Repository.String()
		}
		plan = append(plan, planned{at, c.Digest, c.MediaType, c.ArtifactType, c.Size})
	}
	return show(out, o.format, plan)
}

type plans []planned

func (all plans) lines() (lines terminal.Table) {
	for _, p := range all {
		row := terminal.Cells(p.Repository+" "+string(p.Digest), amount.Bytes(p.Size), oci.Kind(p.MediaType, p.ArtifactType))
		row[1].Right = true
		lines = append(lines, row)
	}
	return lines
}
