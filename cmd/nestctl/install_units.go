package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/nestedoci/nested/config"
)

//go:embed units
var unitFiles embed.FS

// unitDir is where an administrator's units are.
const unitDir = "/etc/systemd/system"

// unitNames are the units, in the order of writing.
func unitNames() []string {
	return []string{"nested-gateway.service", "nested-gateway.socket", "nested-renew.service", "nested-renew.timer"}
}

// startedUnits are those to enable; they start the others.
func startedUnits() []string { return []string{"nested-gateway.socket", "nested-renew.timer"} }

// units renders the units for a program at a path.
func units(o installOptions, program string) ([]file, error) {
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
		var text strings.Builder
		err := templates.ExecuteTemplate(&text, name, map[string]string{
			"Program": unitWord(program),
			"Config":  config.Path,
			"Certs":   unitWord(o.ContainerdCerts),
			"Listen":  listen,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, file{path: filepath.Join(unitDir, name), contents: newContents([]byte(text.String()), 0o644)})
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

// program is the path of this program on the node.
func program(root string) (string, error) {
	path, err := os.Executable()
	if err != nil || root == "" {
		return path, err
	}
	if inside, ok := strings.CutPrefix(path, filepath.Clean(root)+"/"); ok {
		return "/" + inside, nil
	}
	return path, nil
}

// hasSystemd tells whether this node is the one at hand and runs systemd.
func hasSystemd(root string) bool {
	info, err := os.Stat("/run/systemd/system")
	return root == "" && err == nil && info.IsDir()
}

// systemctl runs it.
func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// startUnits makes systemd know the units and starts them.
func startUnits(ctx context.Context) error {
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	return systemctl(ctx, append([]string{"enable", "--now"}, startedUnits()...)...)
}

// stopUnits stops the units for good; they may be gone.
func stopUnits(ctx context.Context) error {
	return systemctl(ctx, append([]string{"disable", "--now"}, unitNames()...)...)
}
