package prune

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// Follow lists the plan, a line for each release and each deletion, and does what it
// says unless this is a dry run. Lines are not escaped. Errors: those of
// [Plan.Delete], and of line.
func (p *Plan) Follow(ctx context.Context, dryRun bool, line func(string) error) error {
	for _, r := range p.Kept {
		if err := line("keep " + r.String()); err != nil {
			return err
		}
	}
	for _, r := range p.Removed {
		if err := line("remove " + r.String()); err != nil {
			return err
		}
	}
	done := func(d Deletion) error { return line(d.Line()) }
	if !dryRun {
		return p.Delete(ctx, done)
	}
	for _, d := range p.Deletions {
		if err := done(d); err != nil {
			return err
		}
	}
	return nil
}

// Delete does what the plan says, in its order. done is called for each deletion
// with what has become of it. Before the first manifest of a repository its tags, and those of
// the repositories above it up to the parent, are compared with the plan: what was
// pushed meanwhile may name what is to go. Each is compared at most twice: for its own
// manifests, and before the first one below it. So is each tag before it is deleted by
// its name. Errors: those of requests, and of the
// class errdefs.ErrAborted when tags have changed; a new plan goes on from there.
func (p *Plan) Delete(ctx context.Context, done func(Deletion) error) error {
	checked := map[check]bool{}
	for i := range p.Deletions {
		d := &p.Deletions[i]
		if d.Tag == "" {
			if err := p.unchanged(ctx, d.at, checked); err != nil {
				return err
			}
		}
		if err := p.one(ctx, d); err != nil {
			return err
		}
		if err := done(*d); err != nil {
			return err
		}
	}
	return nil
}

// check is the comparison of a repository's tags with a plan.
type check struct {
	at    auth.Repository
	above bool // for what is below it
}

// one does one deletion.
func (p *Plan) one(ctx context.Context, d *Deletion) error {
	reference := d.Digest.String()
	if d.Tag != "" {
		reference = d.Tag
	}
	path := "manifests/" + reference
	if d.Kind == KindBlob {
		path = "blobs/" + reference
	}
	err := p.unmoved(ctx, d)
	if err == nil {
		err = p.client.Delete(ctx, d.at, path)
	}
	d.State = Deleted
	switch {
	case errdefs.IsNotFound(err): // it went with something else, or before
		return nil
	case deletesNone(err) && (d.Tag != "" && d.goes || d.Kind == KindBlob):
		return nil // the tag goes with what it names, and the blob with the registry's clean-up
	case deletesNone(err) && d.Tag != "":
		d.State = Left
		return nil
	case err == nil && d.Tag != "" && !d.goes:
		return stillThere(ctx, p.client, d.at, d.Tag, d.Digest)
	case err == nil:
		return nil
	}
	d.State = Planned
	return fmt.Errorf("%s: %w", d, explained(err))
}

// explained is an error of a deletion, with what to do about a registry that does
// not delete.
func explained(err error) error {
	if errdefs.IsNotImplemented(err) {
		return fmt.Errorf("%w; the registry has to be configured to delete (distribution: storage.delete.enabled)", err)
	}
	return err
}

// unmoved is an error when a tag that is to go names something else than in the plan:
// it is somebody's by now.
func (p *Plan) unmoved(ctx context.Context, d *Deletion) error {
	if d.Tag == "" {
		return nil
	}
	now, err := p.client.Digest(ctx, d.at, d.Tag)
	if err == nil && now != d.Digest {
		return pushedMeanwhile(d.at, d.Tag)
	}
	return err
}

func pushedMeanwhile(at auth.Repository, tag string) error {
	return auth.Classed(errdefs.ErrAborted, "%s:%s has been pushed meanwhile; run the same command again", at, tag)
}

// deletesNone reports whether a registry refuses to delete such things at all:
// tags by their names, or blobs. Distribution 2 says that a tag is no digest.
func deletesNone(err error) bool {
	status, ok := errors.AsType[*registry.StatusError](err)
	return errdefs.IsNotImplemented(err) || ok && status.StatusCode == http.StatusBadRequest
}

// stillThere is an error when a registry has deleted, with a tag, what that named and
// what was to stay. It keeps the harm to one manifest.
func stillThere(ctx context.Context, client *registry.Client, at auth.Repository, tag string, named digest.Digest) error {
	_, err := client.Digest(ctx, at, named.String())
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%s:%s: the registry has deleted %s, which the tag named, with the tag; push it again, and delete no tags here", at, tag, named)
	}
	return err
}

// unchanged is an error when a repository, or one above it, has a tag that was not
// there or named something else when the plan was made. Those that were checked
// are not read again: one parent may have a thousand members, and ten thousand
// tags.
func (p *Plan) unchanged(ctx context.Context, of auth.Repository, checked map[check]bool) error {
	for _, at := range append([]auth.Repository{of}, of.Above(p.parent)...) {
		this := check{at, at != of}
		if checked[this] {
			continue
		}
		checked[this] = true
		tags, err := p.client.Tags(ctx, at)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		group, reading := errgroup.WithContext(ctx)
		group.SetLimit(bundle.DefaultConcurrent)
		for _, tag := range tags {
			group.Go(func() error {
				now, err := p.client.Digest(reading, at, tag)
				switch planned, ok := p.tags[at][tag]; {
				case errdefs.IsNotFound(err):
					return nil
				case err == nil && (!ok || now != planned):
					return pushedMeanwhile(at, tag)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}
