package node

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/nestedoci/nested/config"
)

//go:embed units
var unitFiles embed.FS

// UnitDir is the directory of an administrator's systemd units.
const UnitDir = "/etc/systemd/system"

// unitNames are the units, in the order of writing.
func unitNames() []string {
	return []string{"nested-gateway.service", "nested-gateway.socket", "nested-renew.service", "nested-renew.timer", renewPath}
}

// renewPath is only for clients that write their hosts.toml files anew.
const renewPath = "nested-renew.path"

// startedUnits are the units to enable; they start the others.
func startedUnits(o Options) []string {
	started := []string{"nested-gateway.socket", "nested-renew.timer"}
	if o.watched() != nil {
		started = append(started, renewPath)
	}
	return started
}

// watched are the directories of clients that write their hosts.toml files anew.
func (o *Options) watched() []string {
	var all []string
	for _, c := range clients() {
		if c.rewrites && slices.Contains(o.For, c.name) {
			all = append(all, c.hosts)
		}
	}
	return all
}

// units renders the units for a program at a path, unless the options exclude
// them.
func units(o Options, program string) ([]file, error) {
	if o.NoSystemd {
		return nil, nil
	}
	listen := o.Address
	if host, port, err := net.SplitHostPort(o.Address); err == nil && host == "localhost" {
		listen = "127.0.0.1:" + port // systemd resolves no names
	}
	templates, err := template.ParseFS(unitFiles, "units/*")
	if err != nil {
		return nil, err
	}
	var all []file
	for _, name := range unitNames() {
		if name == renewPath && o.watched() == nil {
			continue
		}
		var text strings.Builder
		err := templates.ExecuteTemplate(&text, name, map[string]any{
			"Program": unitWord(program),
			"Config":  config.Path,
			"Certs":   unitWords(o.writable()),
			"Listen":  listen,
			"Watched": o.watched(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, file{path: filepath.Join(UnitDir, name), contents: newContents([]byte(text.String()), 0o644)})
	}
	return all, nil
}

func unitWords(paths []string) string {
	words := make([]string, len(paths))
	for i, path := range paths {
		words[i] = unitWord(path)
	}
	return strings.Join(words, " ")
}

// sameUnits are the installed units.
func (i installed) sameUnits() ([]file, error) {
	var all []file
	for _, name := range unitNames() {
		kept, err := i.keep(filepath.Join(UnitDir, name))
		if err != nil {
			return nil, err
		}
		all = append(all, kept...)
	}
	return all, nil
}

// unitWord writes a path as a word of a unit file.
func unitWord(path string) string {
	path = strings.ReplaceAll(strings.ReplaceAll(path, "%", "%%"), "$", "$$")
	if strings.ContainsAny(path, " \t\"'\\;") {
		return strconv.Quote(path)
	}
	return path
}

// program is the path of this program on the node. On this machine it is
// refused when services would have to run it and cannot, or must not.
func program(root string, services bool) (string, error) {
	path, err := os.Executable()
	if err == nil && root == "" && services {
		err = checkProgram(path)
	}
	if err != nil || root == "" {
		return path, err
	}
	if inside, ok := strings.CutPrefix(path, filepath.Clean(root)+"/"); ok {
		return "/" + inside, nil
	}
	return path, nil
}

// hasSystemd reports whether root is this machine and it runs systemd.
func hasSystemd(root string) bool {
	info, err := os.Stat("/run/systemd/system")
	return root == "" && err == nil && info.IsDir()
}

// systemctl runs the program of that name.
func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// startUnits makes systemd read the units and starts them. A gateway that is
// running already picks up the changes.
func startUnits(ctx context.Context, o Options, changed []string) error {
	commands := [][]string{{"daemon-reload"}, append([]string{"enable", "--now"}, startedUnits(o)...)}
	switch {
	case slices.ContainsFunc(changed, func(path string) bool { return filepath.Dir(path) == UnitDir }):
		commands = append(commands, []string{"try-restart", "nested-gateway.socket", "nested-gateway.service"})
	default: // an installation before may not have come so far
		commands = append(commands, []string{"try-reload-or-restart", "nested-gateway.service"})
	}
	for _, args := range commands {
		if err := systemctl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// checkProgram checks whether root's services may, and can, run a program.
func checkProgram(path string) error {
	const fix = "; install nestctl in a permanent directory that only root may write, such as /usr/local/bin, and run that"
	for _, dir := range []string{"/tmp/", "/var/tmp/"} { // PrivateTmp
		if strings.HasPrefix(path, dir) {
			return fmt.Errorf("%s: the services cannot see %s"+fix, path, dir)
		}
	}
	if err := config.CheckFile(path); err != nil {
		return fmt.Errorf("the services would run %w"+fix, err)
	}
	return nil
}

// stopUnits stops and disables the units that are installed.
func (i installed) stopUnits(ctx context.Context) error {
	names := slices.DeleteFunc(unitNames(), func(name string) bool { return !i.record.Has(filepath.Join(UnitDir, name)) })
	return systemctl(ctx, append([]string{"disable", "--now"}, names...)...)
}
