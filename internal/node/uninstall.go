package node

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
)

// Uninstall stops the services and restores what was there before. Files that
// have been edited since are left, with the files that they need, and stay
// recorded. With purge the gateway's state directory is removed, too. Without
// an installation it changes nothing.
func Uninstall(ctx context.Context, root string, purge bool) (Changes, error) {
	i, err := open(root, nil)
	if err != nil {
		return Changes{}, err
	}
	defer i.close()
	live := hasSystemd(root) && i.hasUnits()
	if live {
		if err = i.stopUnits(ctx); err != nil {
			return Changes{}, err
		}
	}
	done, err := i.restoreAll()
	if err == nil && live {
		err = systemctl(ctx, "daemon-reload")
	}
	if err == nil && purge {
		err = i.purge(&done)
	}
	return done, err
}

// restoreAll restores what was there before the installation.
func (i installed) restoreAll() (Changes, error) {
	w := writer{disk: i.disk, record: i.record}
	if err := w.drop(slices.Clone(i.record.Files)); err != nil {
		return w.done, fmt.Errorf("%w; run the same command again", err)
	}
	return w.done, nil
}

// purge removes the location cache.
func (i installed) purge(done *Changes) error {
	state := config.Default().Gateway.StateDir
	there, err := i.disk.isDir(state)
	if err != nil || !there {
		return err
	}
	if err = i.disk.own(filepath.Dir(state)); err != nil {
		return err
	}
	done.Removed = append(done.Removed, state)
	return i.disk.root.RemoveAll(i.disk.name(state))
}
