package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"
)

// filesInterval is how often it is checked whether files have changed: a mirror
// that an administrator, k3s or RKE2 has removed should not be used for long,
// and nestctl install in another container cannot send a signal.
const filesInterval = 10 * time.Second

// followed are the files whose changes are followed.
type followed struct {
	hosts string   // the directory of hosts.toml files; empty: none
	files []string // others
}

// followFiles reads the files that the configuration names again when they have
// changed. When they are invalid now, or others can change them, it keeps what
// it had read, and logs that once.
func (d *daemon) followFiles() {
	current := d.settings.Load()
	seen := d.service.files(current.config).seen()
	if seen == current.seen {
		return
	}
	err := d.service.check(current.config)
	if err == nil {
		err = d.use(current.config)
	}
	if err != nil {
		d.settings.Store(&settings{config: current.config, handler: current.handler, seen: seen})
		log.L.WithError(err).Errorf("%s were replaced; what was read before stays in force", d.service.called)
		return
	}
	log.L.Infof("%s were read again", d.service.called)
}

// seen returns a text that changes whenever the files do.
func (f followed) seen() string {
	var seen strings.Builder
	paths := f.files
	if f.hosts != "" {
		paths = append(paths, f.hosts)
		for _, below := range []string{"*", "*/*"} {
			if found, err := filepath.Glob(filepath.Join(f.hosts, below)); err == nil {
				paths = append(paths, found...)
			}
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		fmt.Fprintln(&seen, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
	}
	return seen.String()
}
