package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
)

// watchInterval is how often hosts.toml files are looked at, which costs a few
// system calls. k3s and RKE2 write theirs anew when they start, and remove the
// directories, which a watch of the kernel's would have to be told of anew.
const watchInterval = 2 * time.Second

// Stay repeats the installation at an interval, and as soon as a hosts.toml has
// changed and is left alone again. It reports what it has changed, until the
// context ends or it fails. The service manager restarts it, and so sees the
// failure.
func Stay(ctx context.Context, root string, every time.Duration, report func(Changes)) error {
	tick, watch := time.NewTicker(every), time.NewTicker(watchInterval)
	defer tick.Stop()
	defer watch.Stop()
	r, err := ReadRecord(root)
	if err != nil {
		return err
	}
	known := r.Options.stateOfHosts(root)
	for last := known; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
			before := last
			if last = r.Options.stateOfHosts(root); last == known || last != before {
				continue // as it was, or about to be written
			}
		case <-tick.C:
		}
		known = r.Options.stateOfHosts(root) // before what is done now, so that nothing is missed
		done, err := Repeat(ctx, root)
		if err != nil {
			return err
		}
		r.Options = done.Options
		report(done.Changes)
	}
}

// stateOfHosts changes with each hosts.toml that a client may read, and with the
// files of podman and its like.
func (o *Options) stateOfHosts(root string) string {
	var state strings.Builder
	if slices.Contains(o.For, Containers) {
		for _, pattern := range registriesconf.Patterns() {
			for _, path := range glob(root, pattern) {
				if info, err := os.Stat(path); err == nil {
					fmt.Fprintln(&state, path, info.Size(), info.ModTime())
				}
			}
		}
	}
	for _, certs := range o.HostsDirs() {
		for _, registry := range o.Registries {
			for _, name := range config.HostDirs(registry) {
				info, err := os.Stat(filepath.Join(root, certs, name, "hosts.toml"))
				if err == nil {
					fmt.Fprintln(&state, certs, name, info.Size(), info.ModTime())
				}
			}
		}
	}
	return state.String()
}

// glob lists the paths that match a pattern.
func glob(parts ...string) []string {
	paths, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		return nil // of a root with a pattern's characters in its name
	}
	return paths
}
