package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
)

// Distinct names an archive in parts once, however many of its parts are named,
// and in which order.
func Distinct(names []string) (distinct []string) {
	seen := map[layout.Place]bool{}
	for _, name := range names {
		place, _ := layout.ParsePlace(name)
		if !seen[place] {
			distinct = append(distinct, name)
		}
		seen[place] = place.InParts()
	}
	return distinct
}

// OpenAll opens what a user names, each as [Open] does. With each, a layout or
// an archive that is named without an image stands for all images that it
// names.
func OpenAll(ctx context.Context, names []string, each bool, dial Dial) (all []*Source, err error) {
	for _, name := range names {
		var opened []*Source
		if place, ok := layout.ParsePlace(name); ok && each && place.Reference == "" {
			opened, err = openEach(ctx, place, name)
		} else {
			opened = make([]*Source, 1)
			opened[0], err = Open(ctx, name, dial)
		}
		if err != nil {
			return nil, errors.Join(err, CloseAll(all))
		}
		all = append(all, opened...)
	}
	return all, nil
}

// openEach opens all images of a layout. It is closed with the first.
func openEach(ctx context.Context, place layout.Place, name string) ([]*Source, error) {
	opened, err := layout.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	roots, err := opened.Roots()
	all := make([]*Source, len(roots))
	for i, root := range roots {
		if err == nil {
			all[i], err = inLayout(ctx, root, name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	all[0].close = opened.Close
	return all, nil
}

// OpenSince opens what an earlier copy was written to, an archive or a layout
// with its prefix or as a path alone, or the lock of what was copied. closeAll
// releases it. The archive to which the copy goes is a usage.Error: once it is
// replaced, nobody has what it leaves out.
func OpenSince(ctx context.Context, names []string, to layout.Place) (since []delta.Earlier, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() (err error) {
		for _, close := range closers {
			err = errors.Join(err, close())
		}
		return err
	}
	for _, name := range names {
		earlier, close, err := openEarlier(ctx, name, to)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		since, closers = append(since, earlier), append(closers, close)
	}
	return since, closeAll, nil
}

func openEarlier(ctx context.Context, name string, to layout.Place) (delta.Earlier, func() error, error) {
	place, ok := layout.ParsePlace(name)
	if path, isLock := lockOf(name); !ok && isLock {
		l, err := lock.ReadFile(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		return l.Earlier(), func() error { return nil }, nil
	}
	if !ok {
		place = layout.PlaceOf(name)
	}
	if place.Reference != "" {
		return nil, nil, usage.Errorf("%s: an archive or a layout counts with all that it has; name no image", name)
	}
	if to.Archive && place.Same(to) {
		return nil, nil, usage.Errorf("%s: the archive of an update would replace the one that has what it leaves out; write it to another file", name)
	}
	opened, err := layout.OpenEarlier(ctx, place)
	if err != nil {
		return nil, nil, err
	}
	return opened, opened.Close, nil
}

// lockOf reports whether an earlier copy is named by a lock. A path alone may
// also be that of an archive or a layout.
func lockOf(name string) (path string, ok bool) {
	if path, ok = lock.Path(name); !ok || path != name {
		return path, ok
	}
	_, ok = lock.Path(filepath.Base(name))
	return name, ok
}

// CloseAll releases sources.
func CloseAll(all []*Source) (err error) {
	for _, s := range all {
		err = errors.Join(err, s.Close())
	}
	return err
}

// Below is where a copy of the bundle goes that keeps its path below another
// prefix: registry.example.com/org/app below mirror.example.com/prod goes to
// mirror.example.com/prod/org/app. The prefix may be a host alone. One that
// does not fit is a usage.Error.
func (s *Source) Below(prefix string) (auth.Repository, error) {
	if s.label != "" {
		return auth.Repository{}, usage.Errorf("%s does not say where its image is from, so that it has no path to keep; copy it alone", s.label)
	}
	to, err := auth.ParseRepository(prefix + "/" + s.Bundle.Repository.Name())
	if err == nil && !strings.ContainsAny(to.Host(), ".:") && to.Host() != "localhost" { // as docker reads names
		err = fmt.Errorf("%q is no registry", to.Host())
	}
	if err != nil {
		err = usage.Errorf("several sources are copied below a prefix, such as registry.example.com/prod: %w", err)
	}
	return to, err
}

// Explain is an error about one of several sources; see Source.Explain.
func Explain(all []*Source, err error) error {
	for _, s := range all {
		err = s.Explain(err)
	}
	return err
}

// Writer is a writer of lines about several sources; see Source.Writer.
func Writer(all []*Source, w io.Writer) io.Writer {
	for _, s := range all {
		w = s.Writer(w)
	}
	return w
}
