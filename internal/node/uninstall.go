package node

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
)

// Uninstall stops the services and takes back what was installed. What somebody
// has edited since is left, with what it needs; the record keeps it. With purge
// the gateway's state directory goes, too. Without an installation nothing is
// changed.
func Uninstall(ctx context.Context, root string, purge bool) (Changes, error) {
	i, err := open(root, nil)
	if err != nil {
		return Changes{}, err
	}
	defer i.close()
	live := hasSystemd(root) && i.hasUnits()
	if live {
		if err = stopUnits(ctx); err != nil {
			return Changes{}, err
		}
	}
	done, err := i.takeBack()
	if err == nil && live {
		err = systemctl(ctx, "daemon-reload")
	}
	if err == nil && purge {
		err = i.purge(&done)
	}
	return done, err
}

// takeBack brings back what was there before us.
func (i installed) takeBack() (Changes, error) {
	w := writer{disk: i.disk, record: i.record}
	if err := w.drop(slices.Clone(i.record.Files)); err != nil {
		return w.done, fmt.Errorf("%w; run the same command again", err)
	}
	return w.done, nil
}

// purge removes what the gateway has learnt.
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
