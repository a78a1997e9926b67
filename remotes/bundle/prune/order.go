package prune

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/bundle"
)

// Order is by what releases were ordered.
type Order string

// Registries do not say when something was pushed. A release says when it was
// made: the annotation org.opencontainers.image.created of its index or, where
// that is missing, the latest "created" in the configs of its images. Where a
// release says none, or the last one that is kept says the same as the first that is not, their versions decide, when every
// release has a tag that is one.
const (
	ByCreated Order = "created"
	ByVersion Order = "version"
)

// sortReleases sorts releases, the newest first. The first ones, as many as keep
// says, have to be newer than the others; when it is 0, each has to say when it was
// made.
func sortReleases(ctx context.Context, r *reader, all []*release, keep int) (Order, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bundle.DefaultConcurrent)
	for _, one := range all {
		group.Go(func() (err error) {
			one.created, err = r.createdOf(ctx, one.tree)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	var undated []string
	for _, one := range all {
		if one.created.IsZero() {
			undated = append(undated, one.String())
		}
	}
	if keep == 0 && len(undated) > 0 {
		return "", unknownOrder("nothing says when %s was made; publish with --annotation org.opencontainers.image.created=..., use --keep, or keep it with --keep-tag", few(undated))
	}
	slices.SortStableFunc(all, func(a, b *release) int { return b.created.Compare(a.created) })
	if keep == 0 || len(undated) == 0 && !all[keep-1].created.Equal(all[keep].created) {
		return ByCreated, nil
	}
	return ByVersion, sortVersions(all, keep)
}

func sortVersions(all []*release, keep int) error {
	versions := map[*release]version{}
	var without []string
	for _, one := range all {
		v, ok := one.version()
		if versions[one] = v; !ok {
			without = append(without, one.String())
		}
	}
	if len(without) > 0 {
		return unknownOrder("which releases are newer is not known: not all say when they were made, each at another time, "+
			"and %s has no tag that is a version; publish with --annotation org.opencontainers.image.created=..., or keep it with --keep-tag", few(without))
	}
	slices.SortStableFunc(all, func(a, b *release) int { return versions[b].compare(versions[a]) })
	if a, b := all[keep-1], all[keep]; versions[a].compare(versions[b]) == 0 {
		return unknownOrder("whether %s or %s is newer is not known: their versions are the same; keep one with --keep-tag", a, b)
	}
	return nil
}

// few shows up to five of a list.
func few(list []string) string {
	const most = 5
	if len(list) > most {
		list = append(slices.Clone(list[:most]), "...")
	}
	return strings.Join(list, ", ")
}

// earliest is before any image was made. Builds that can be repeated write the
// beginning of some calendar, which says nothing about when they were made.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// skew is how far clocks may be apart. What was made later was made by a clock
// that is wrong, and would be the newest for ever.
const skew = 24 * time.Hour

// parseCreated reads a time, as RFC 3339; zero when it says none.
func (r *reader) parseCreated(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Before(earliest) || !r.now.IsZero() && t.After(r.now.Add(skew)) {
		return time.Time{}
	}
	return t
}
