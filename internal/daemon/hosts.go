package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"
)

// hostsInterval is how often the gateway checks whether its hosts.toml files
// have changed: a mirror that an administrator, k3s or RKE2 has removed should
// not be used for long, and nestctl install in another container cannot send a
// signal.
const hostsInterval = 10 * time.Second

// followHosts reads the hosts.toml files again when they have changed. When
// others can change them now, it keeps the old ones, and logs that once.
func (d *daemon) followHosts() {
	current := d.settings.Load()
	seen := hostsSeen(current.config.Gateway.HostsDir)
	if seen == current.hosts {
		return
	}
	err := current.config.CheckHosts()
	if err == nil {
		err = d.use(current.config)
	}
	if err != nil {
		d.settings.Store(&settings{config: current.config, gateway: current.gateway, hosts: seen})
		log.L.WithError(err).Error("the files of gateway.hosts_dir were replaced; what was read before stays in force")
		return
	}
	log.L.Info("the files of gateway.hosts_dir were read again")
}

// hostsSeen returns a text that changes whenever the files in the directories
// of registries do.
func hostsSeen(dir string) string {
	var seen strings.Builder
	paths := []string{dir}
	for _, below := range []string{"*", "*/*"} {
		if found, err := filepath.Glob(filepath.Join(dir, below)); err == nil {
			paths = append(paths, found...)
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
